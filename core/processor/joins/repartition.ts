/**
 * Says where the records of an output go by the values of these fields of their key, for `partitionBy` of an output: the one thing that
 * breaks "a task writes to the partition that it reads". Hashed as the connector routes trades, so two topics that are partitioned by
 * equal values with equal counts are co-partitioned, whoever writes them.
 *
 * @throws TypeError (when a record is routed) for a key without the field or with a field that is no text.
 */
export function byFields(...fields: readonly [string, ...string[]]): (key: object) => readonly string[] {
  return (key) =>
    fields.map((field) => {
      const value = (key as Readonly<Record<string, unknown>>)[field];
      if (typeof value !== 'string')
        throw new TypeError(`a record is to be routed by ${field}, which its key has not as text`);
      return value;
    });
}
