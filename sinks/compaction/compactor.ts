import { join } from 'node:path';
import { compactedKey } from '../../core/archive/keys.ts';
import { readDayObjects } from '../../core/archive/listing/day-objects.ts';
import type { ListedObject } from '../../core/archive/listing/objects.ts';
import { Copies } from '../../core/archive/reading/copies.ts';
import type { ReplacementRecord } from '../../core/archive/replacements.ts';
import { putOnce } from '../../core/archive/s3/put-once.ts';
import { buildOf, formOf, forms } from '../../core/archive/writing/writer.ts';
import { isError, type MillraceError } from '../../core/base/errors.ts';
import type { ArchiveReplacement, ReplacingObject } from '../../schemas/gen/archive_replacement.ts';
import { type ArchivedTopic, archivedTopics } from '../../schemas/topics.ts';
import { type Expiry, portionsOf, readOldDays } from './expire/expiry.ts';
import { readDue } from './plan/due.ts';
import { type DueGroup, type Group, groupId, hullOf, sumOf } from './plan/groups.ts';
import { pendingPlan, plannedInputs } from './plan/plan.ts';
import { blank, Records } from './records.ts';
import { bytesOf, type RewrittenFile, rewrite } from './rewrite/rewrite.ts';
import { withScratch } from './rewrite/scratch.ts';
import type { ArchiveSources } from './sources.ts';

export interface CompactionSettings {
  /** Approximate size of a new object, bytes. */
  readonly targetBytes: number;
}

export interface CompactorOptions extends ArchiveSources {
  readonly settings: CompactionSettings;
  /** Normal prefix: empty or ending with a slash. */
  readonly prefix: string;
  /** Epoch of the archive: the cluster id of the log. */
  readonly epoch: string;
  /** Folder on a disk with room for the files of one partition and day, twice. */
  readonly scratchDir: string;
  /** Wall clock, milliseconds since 1970. It sets the timestamp of records and never their value. */
  readonly now: () => number;
  readonly onProgress?: (progress: CompactionProgress) => void;
}

export interface CompactionProgress {
  readonly group: Group;
  readonly step: 'fetching' | 'rewriting' | 'storing';
  /** Objects while fetching or storing, rows while rewriting. */
  readonly done: number;
  readonly total: number;
}

/** The result of one compacted group. */
export interface Compaction extends Group {
  /** Offset of the plan. */
  readonly plan: bigint;
  readonly rows: bigint;
  readonly before: { readonly files: number; readonly bytes: bigint };
  readonly after: { readonly files: number; readonly bytes: bigint };
}

/** A group that was left unchanged, with the reason. */
export interface FailedCompaction extends Group {
  readonly plan: bigint;
  readonly error: MillraceError;
}

export interface CompactionResult {
  readonly done: readonly Compaction[];
  readonly failed: readonly FailedCompaction[];
}

/**
 * Replaces objects of complete days by larger ones. There is one owner: opening it fences the previous one. Each group takes four steps.
 * After a crash at any point, the next owner finishes the planned group before it starts another:
 *
 *   1. commit a plan, which fixes the input objects and the names of the new ones
 *   2. write the new objects to local disk, sorted, and compare the rows read back with the input rows
 *   3. upload them, each only if it is absent
 *   4. commit the replacement: the new objects become listed and the old ones unlisted, atomically
 *
 * Nothing is removed here. Readers of an earlier list keep the old objects for the grace of readers (see sweep.ts).
 */
export class Compactor implements AsyncDisposable {
  /** The previous owner's plan, finished at the takeover. */
  readonly resumed: CompactionResult;
  readonly #options: CompactorOptions;
  readonly #records: Records;

  private constructor(options: CompactorOptions, records: Records, resumed: CompactionResult) {
    this.#options = options;
    this.#records = records;
    this.resumed = resumed;
  }

  /** Takes over from the previous owner and finishes its plan. @throws as `compact` */
  static async open(options: CompactorOptions): Promise<Compactor> {
    const { log, schemas } = options;
    const records = await Records.open(log, schemas, options.now);
    try {
      const pending = await pendingPlan(options);
      const resumed = pending === undefined ? nothing : await new Run(options, records).resume(pending);
      return new Compactor(options, records, resumed);
    } catch (error) {
      await records[Symbol.asyncDispose]();
      throw error;
    }
  }

  /**
   * Compacts due groups until none is left.
   *
   * @param within days to look at
   * @throws MillraceError FENCED: another compactor has taken over and finishes the plan. COPIES_FULL, and errors of the log and the store:
   *   the plan stays, and the next owner finishes it.
   */
  async compact(topics: readonly ArchivedTopic[], within: (day: string) => boolean): Promise<CompactionResult> {
    const run = new Run(this.#options, this.#records);
    const failed = new Set<string>();
    const outcome = { done: [] as Compaction[], failed: [] as FailedCompaction[] };
    for (const topic of topics) {
      for (;;) {
        let due = 0;
        for await (const { groups, covers } of readDue(this.#options, topic, within, this.#options.settings)) {
          for (const group of groups) {
            if (failed.has(groupId(group))) continue;
            due++;
            const { done, failed: not } = await run.group(group, covers[group.partition] ?? 0n);
            outcome.done.push(...done);
            outcome.failed.push(...not);
            for (const each of not) failed.add(groupId(each));
          }
        }
        if (due === 0) break;
      }
    }
    return outcome;
  }

  /**
   * Expires days: their objects are unlisted. The objects are read again, because a compaction may have replaced them since the plan was
   * shown.
   *
   * @param planned a day that is no longer complete is left out
   * @returns the expired days, with the sums over their objects
   * @throws as `compact`
   */
  async expire(
    planned: readonly Pick<Expiry, 'topic' | 'day'>[],
    onDay: (done: number) => void = () => undefined,
  ): Promise<readonly Expiry[]> {
    const { epoch, signal } = this.#options;
    const given: Expiry[] = [];
    for (const topic of new Set(planned.map((each) => each.topic))) {
      const days = new Set(planned.filter((each) => each.topic === topic).map(({ day }) => day));
      for await (const { day, state, objects } of readOldDays(this.#options, topic, (each) => days.has(each))) {
        signal.throwIfAborted();
        if (state !== 'COMPLETE') continue;
        await this.#records.commit(
          portionsOf(objects).map((own) => ({ ...blank, kind: 'EXPIRED', epoch, topic, day, ...withoutRows(own) })),
        );
        onDay(given.push({ topic, day, files: objects.length, ...sumOf(objects) }));
      }
    }
    return given;
  }

  /**
   * Unlists objects that are gone or damaged and that nothing can produce again. Their rows count as lost. An object that was replaced
   * meanwhile, or that now has other bytes, is left alone.
   *
   * @returns the lost objects, in the order of the list
   * @throws as `compact`
   */
  async giveUp(objects: readonly ListedObject[]): Promise<readonly ListedObject[]> {
    const { epoch } = this.#options;
    const wanted = new Map(objects.map((object) => [object.key, object]));
    const given: ListedObject[] = [];
    for (const topic of archivedTopics.filter((each) => objects.some((object) => object.topic === each))) {
      const days = new Set(objects.filter((each) => each.topic === topic).map(({ day }) => day));
      for await (const { day, objects: listed } of readDayObjects(this.#options, topic, {
        days: (each) => days.has(each),
      })) {
        const portions = portionsOf(listed.filter(({ key, sha256 }) => wanted.get(key)?.sha256 === sha256));
        if (portions.length === 0) continue;
        await this.#records.commit(
          portions.map((own) => ({ ...blank, kind: 'LOST', epoch, topic, day, ...withoutRows(own) })),
        );
        given.push(...portions.flat());
      }
    }
    return given;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#records[Symbol.asyncDispose]();
  }
}

/** The fields of a record that unlists objects without a replacement. */
function withoutRows(objects: readonly ListedObject[]) {
  const { rows, bytes, rowHash } = sumOf(objects);
  return { replaced: objects.map(({ key }) => key), rows, bytes, row_hash: rowHash };
}

const abandoned = ['ARCHIVE_DAMAGED', 'COMPACTION_FAILED', 'S3_CONFLICT'] as const;

const nothing: CompactionResult = { done: [], failed: [] };

/** The four steps of a group. */
class Run {
  readonly #options: CompactorOptions;
  readonly #records: Records;

  constructor(options: CompactorOptions, records: Records) {
    this.#options = options;
    this.#records = records;
  }

  async group({ inputs, ...group }: DueGroup, covers: bigint): Promise<CompactionResult> {
    const { epoch, settings } = this.#options;
    const { rows, rowHash } = sumOf(inputs);
    const planned: ArchiveReplacement = {
      ...blank,
      ...head(group, epoch),
      kind: 'PLANNED',
      covers,
      target_bytes: BigInt(settings.targetBytes),
      rows,
      row_hash: rowHash,
    };
    const offset = await this.#records.commit([planned]);
    return this.#finish({ offset, replacement: planned }, group, inputs);
  }

  /** Finishes a plan unchanged, from the objects that were listed when it was made. */
  async resume(plan: ReplacementRecord): Promise<CompactionResult> {
    const { topic: name, day, partition, schema_id: schemaId, writer_version: writerVersion } = plan.replacement;
    const topic = archivedTopics.find((each) => each === name) as ArchivedTopic;
    const group = { topic, day, partition: partition ?? 0, schemaId, writerVersion };
    // A newer Millrace made the plan, and this version cannot write its files.
    if (forms.every(({ version }) => version !== writerVersion)) {
      await this.#abandon(plan, group);
      return nothing;
    }
    return this.#finish(plan, group, await plannedInputs(this.#options, plan, group));
  }

  async #finish(plan: ReplacementRecord, group: Group, inputs: readonly ListedObject[]): Promise<CompactionResult> {
    try {
      return { done: [await this.#replace(plan, group, inputs)], failed: [] };
    } catch (error) {
      // Time or an operator may cure any other error, so the plan waits. S3_CONFLICT: an older Millrace stored other bytes for this plan.
      // The next plan uses other names.
      if (!abandoned.some((code) => isError(error, code))) throw error;
      await this.#abandon(plan, group);
      return { done: [], failed: [{ ...group, plan: plan.offset, error: error as MillraceError }] };
    }
  }

  async #abandon({ offset }: ReplacementRecord, group: Group): Promise<void> {
    const none = { rows: 0n, row_hash: sumOf([]).rowHash };
    await this.#records.commit([
      { ...blank, ...none, ...head(group, this.#options.epoch), kind: 'ABANDONED', plan: offset },
    ]);
  }

  async #replace(plan: ReplacementRecord, group: Group, inputs: readonly ListedObject[]): Promise<Compaction> {
    const { store, signal, scratchDir } = this.#options;
    return withScratch(scratchDir, async (dir) => {
      const copies = new Copies({ store, dir: join(dir, 'inputs') });
      const fetched = await copies.fetch(inputs, {
        signal,
        onProgress: ({ objects, totalObjects }) => this.#report(group, 'fetching', objects, totalObjects),
      });
      const { rows, bytes, rowHash } = sumOf(inputs);
      let done = 0;
      const onRows = (more: number): void => {
        done += more;
        this.#report(group, 'rewriting', done, Number(rows));
      };
      const targetBytes = plan.replacement.target_bytes;
      const files = await rewrite({ group, inputs: fetched, plan: plan.offset, targetBytes, dir, signal, onRows });
      const objects: ReplacingObject[] = [];
      for (const [i, file] of files.entries()) {
        this.#report(group, 'storing', i, files.length);
        objects.push(await this.#store(plan, group, file, i, inputs));
      }
      await this.#records.commit([
        {
          ...blank,
          ...head(group, this.#options.epoch),
          kind: 'COMPACTED',
          plan: plan.offset,
          replaced: inputs.map(({ key }) => key),
          objects,
          rows,
          bytes,
          row_hash: rowHash,
        },
      ]);
      const after = { files: objects.length, bytes: objects.reduce((sum, object) => sum + object.bytes, 0n) };
      return { ...group, plan: plan.offset, rows, before: { files: inputs.length, bytes }, after };
    });
  }

  async #store(
    plan: ReplacementRecord,
    { topic, day, partition, schemaId, writerVersion }: Group,
    file: RewrittenFile,
    number: number,
    inputs: readonly ListedObject[],
  ): Promise<ReplacingObject> {
    const { store, prefix, epoch, signal } = this.#options;
    const { firstOffset, lastOffset, rows, rowHash, sha256 } = file;
    const key = compactedKey({ prefix, epoch, topic, day, partition, firstOffset }, plan.offset, number);
    const content = { rows: String(rows), 'row-hash': rowHash };
    const bytes = await bytesOf(file);
    const kept = await putOnce(store, { key, bytes, sha256, content, build: buildOf(formOf(writerVersion)) }, signal);
    return {
      key,
      ...hullOf(inputs),
      first_offset: firstOffset,
      last_offset: lastOffset,
      rows: BigInt(rows),
      row_hash: rowHash,
      sha256: kept.sha256,
      bytes: BigInt(kept.bytes),
      schema_id: schemaId,
      writer_version: writerVersion,
    };
  }

  #report(group: Group, step: CompactionProgress['step'], done: number, total: number): void {
    this.#options.onProgress?.({ group, step, done, total });
  }
}

function head({ topic, day, partition, schemaId, writerVersion }: Group, epoch: string) {
  return { epoch, topic, day, partition, schema_id: schemaId, writer_version: writerVersion };
}
