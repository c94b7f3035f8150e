/** `millrace archive connector`: translates a configuration of Kafka Connect's S3 sink. */
import type { Command } from 'commander';
import { readConnector } from '../../settings/config.ts';
import { environmentName } from '../../settings/environment.ts';
import { printJson, printTable } from '../../terminal/print.ts';

export function register(group: Command): void {
  group
    .command('connector')
    .description(
      "show what the configuration of Kafka Connect's S3 sink becomes here, setting by setting; nothing is changed",
    )
    .argument('<file>', "the connector's JSON, as Connect's API takes it or answers it")
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
Take it over with ${environmentName(['parquet', 'connector'])}=${file}; what is set in the environment wins over it.
`);
    });
}
