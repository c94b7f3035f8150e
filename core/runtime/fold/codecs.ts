import { schemas as contracts, type SchemaTypes } from '../../../schemas/gen/index.ts';
import { AvroDecoder } from '../../avro/decoder.ts';
import { AvroEncoder } from '../../avro/encoder.ts';
import type { Schemas } from '../../avro/schemas.ts';
import type { Output, Processor } from '../../processor/define.ts';

export interface OutputCodec extends Pick<Output, 'partitionBy'> {
  readonly key: AvroEncoder<object> | null;
  readonly value: AvroEncoder<object>;
  /** It is the processor's late topic. */
  readonly late: boolean;
}

export interface TableCodec {
  readonly key: AvroDecoder<unknown>;
  readonly value: AvroDecoder<unknown>;
}

/** All encoders and decoders of a processor: opened once per process, so that folding never waits for the registry. */
export interface Codecs<In> {
  readonly inputs: ReadonlyMap<string, AvroDecoder<In>>;
  readonly tables: ReadonlyMap<string, TableCodec>;
  readonly outputs: ReadonlyMap<string, OutputCodec>;
  readonly dead: AvroEncoder<SchemaTypes['dead_letter']>;
  readonly journal: AvroEncoder<SchemaTypes['journal_entry']>;
}

/** Registers the output schemas where they are not. @throws MillraceError REGISTRY_UNREACHABLE, SCHEMA_INCOMPATIBLE */
export async function openCodecs<In>(processor: Processor<In>, schemas: Schemas): Promise<Codecs<In>> {
  const outputs = new Map<string, OutputCodec>();
  for (const { topic, keySchema, valueSchema, partitionBy } of processor.outputs) {
    outputs.set(topic, {
      key: keySchema === null ? null : await AvroEncoder.open<object>(schemas, `${topic}-key`, keySchema),
      value: await AvroEncoder.open<object>(schemas, `${topic}-value`, valueSchema),
      late: topic === `${processor.name}.late`,
      ...(partitionBy === undefined ? {} : { partitionBy }),
    });
  }
  return {
    inputs: new Map(processor.inputs.map(({ topic, schema }) => [topic, new AvroDecoder<In>(schemas, schema)])),
    tables: new Map(
      (processor.tables ?? []).map(({ topic, keySchema, schema }) => [
        topic,
        { key: new AvroDecoder<unknown>(schemas, keySchema), value: new AvroDecoder<unknown>(schemas, schema) },
      ]),
    ),
    outputs,
    dead: await AvroEncoder.open(schemas, `${processor.name}.dead-value`, contracts.dead_letter),
    journal: await AvroEncoder.open(schemas, `${processor.name}.journal-value`, contracts.journal_entry),
  };
}
