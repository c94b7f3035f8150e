/** `millrace archive connector`: translates a configuration of Kafka Connect's S3 sink. */
import type { Command } from 'commander';
import { readConnector } from '../../settings/config.ts';
import { environmentName } from '../../settings/environment.ts';
import { printJson, printTable } from '../../terminal/print.ts';

export function register(group: Command): void {
  group
    .command('connector')
    .description(
      "translate a configuration of Kafka Connect's S3 sink to Millrace, setting by setting; changes nothing",
    )
    .argument('<file>', "the connector's JSON, in the format of Connect's API")
    .option('--json', 'print JSON')
    .action((file: string, options: { readonly json?: boolean }) => {
      const { taken } = readConnector(file);
      if (options.json === true) {
        printJson(taken.map((each) => ({ ...each, becomes: each.becomes ?? null })));
        return;
      }
      printTable(
        ['SETTING', 'VALUE', 'BECOMES', 'NOTE'],
        taken.map(({ setting, value, becomes, note }) => [setting, value, becomes ?? '–', note]),
      );
      process.stdout.write(`
Use it with ${environmentName(['parquet', 'connector'])}=${file}; other environment variables take precedence.
`);
    });
}
