import type { Command } from 'commander';
import { configSources, stackName } from '../../settings/config.ts';
import { type ShownSetting, shownSettings } from '../../settings/shown.ts';
import { printJson, printTable } from '../../terminal/print.ts';

export function register(program: Command): void {
  program
    .command('config')
    .description('show every setting: its value, its origin and the variable that sets it; secrets are masked')
    .option('--set', 'only settings that are not at their default')
    .option('--json', 'print JSON')
    .action((options: { set?: boolean; json?: boolean }, command: Command) => {
      const all = shownSettings(configSources(stackName(command), process.env));
      const shown = options.set === true ? all.filter(({ origin }) => origin !== 'default') : all;
      if (options.json === true) printJson(shown);
      else print(shown);
    });
}

function print(settings: readonly ShownSetting[]): void {
  printTable(
    ['setting', 'value', 'from', 'variable'],
    settings.map(({ setting, value, origin, variable }) => [setting, text(value), origin, variable]),
  );
}

function text(value: unknown): string {
  if (Array.isArray(value)) return value.join(', ');
  if (typeof value === 'object' && value !== null) {
    return Object.entries(value)
      .map(([name, each]) => `${name}=${each}`)
      .join(', ');
  }
  return value === '' ? '–' : String(value);
}
