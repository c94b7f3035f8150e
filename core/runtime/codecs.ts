import { schemas as contracts, type SchemaTypes } from '../../schemas/gen/index.ts';
import { AvroDecoder } from '../avro/decoder.ts';
import { AvroEncoder } from '../avro/encoder.ts';
import type { Schemas } from '../avro/schemas.ts';
import type { Processor } from '../processor/define.ts';

export interface OutputCodec {
  readonly key: AvroEncoder<object> | null;
  readonly value: AvroEncoder<object>;
}

/** All encoders and decoders of a processor: opened once per process, so that folding never waits for the registry. */
export interface Codecs<In> {
  readonly input: AvroDecoder<In>;
  readonly outputs: ReadonlyMap<string, OutputCodec>;
  readonly dead: AvroEncoder<SchemaTypes['dead_letter']>;
  readonly journal: AvroEncoder<SchemaTypes['journal_entry']>;
}

/** Registers the output schemas where they are not. @throws MillraceError REGISTRY_UNREACHABLE, SCHEMA_INCOMPATIBLE */
export async function openCodecs<In>(processor: Processor<In>, schemas: Schemas): Promise<Codecs<In>> {
  const outputs = new Map<string, OutputCodec>();
  for (const { topic, keySchema, valueSchema } of processor.outputs) {
    outputs.set(topic, {
      key: keySchema === null ? null : await AvroEncoder.open<object>(schemas, `${topic}-key`, keySchema),
      value: await AvroEncoder.open<object>(schemas, `${topic}-value`, valueSchema),
    });
  }
  return {
    input: new AvroDecoder<In>(schemas, processor.input.schema),
    outputs,
    dead: await AvroEncoder.open(schemas, `${processor.name}.dead-value`, contracts.dead_letter),
    journal: await AvroEncoder.open(schemas, `${processor.name}.journal-value`, contracts.journal_entry),
  };
}
