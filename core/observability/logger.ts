import pino from 'pino';
import { prettyFactory } from 'pino-pretty';
import { maskSecrets, maskText } from '../base/secrets.ts';

export type Logger = pino.Logger;
export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent';

export interface LoggerOptions {
  /** Default `info`. */
  readonly level?: LogLevel;
  /** One readable line per event instead of JSON; the caller passes whether its output is a terminal. Default false. */
  readonly pretty?: boolean;
  /** Colours in pretty mode. Default true. */
  readonly color?: boolean;
  /** On every line, e.g. the name of the command. */
  readonly bindings?: Readonly<Record<string, unknown>>;
  /** Default: standard error, written synchronously, so that the last line before an exit is there and stdout stays for data. */
  readonly destination?: pino.DestinationStream;
}

/**
 * A logger that writes one JSON object per line (time in ISO 8601 UTC, level by name) and never a secret: see mask.ts.
 *
 * Not its job: counting. What an operator must act on is a metric or an output record as well, never only a line here.
 */
export function createLogger(options: LoggerOptions = {}): Logger {
  const destination = options.destination ?? pino.destination({ fd: 2, sync: true });
  const stream = options.pretty === true ? prettyStream(destination, options.color ?? true) : destination;
  const logger = pino(
    {
      level: options.level ?? 'info',
      base: maskSecrets(options.bindings ?? {}) as Record<string, unknown>,
      timestamp: pino.stdTimeFunctions.isoTime,
      // maskSecrets writes errors out itself; pino's own serialiser would run after it and see a plain object.
      serializers: { err: (value: unknown) => value, error: (value: unknown) => value },
      formatters: {
        level: (label) => ({ level: label }),
        log: (fields) => maskSecrets(fields) as Record<string, unknown>,
      },
      hooks: {
        logMethod(args, method) {
          const safe = args.map((arg) => (typeof arg === 'string' ? maskText(arg) : arg));
          if (safe[0] instanceof Error) safe[0] = { err: safe[0] };
          if (safe.length === 1 && isErrorOnly(safe[0])) safe.push(maskText(safe[0].err.message));
          method.apply(this, safe as Parameters<typeof method>);
        },
      },
    },
    stream,
  );
  return maskChildren(logger);
}

/** A logger that says nothing: for libraries' tests. */
export function silentLogger(): Logger {
  return pino({ level: 'silent' });
}

function isErrorOnly(value: unknown): value is { err: Error } {
  return typeof value === 'object' && value !== null && 'err' in value && value.err instanceof Error;
}

/** Formats in this thread: a worker's last lines would be lost at an exit. */
function prettyStream(destination: pino.DestinationStream, colorize: boolean): pino.DestinationStream {
  const format = prettyFactory({ colorize, translateTime: 'SYS:HH:MM:ss.l', ignore: 'pid,hostname', singleLine: true });
  return { write: (line) => destination.write(format(line)) };
}

/** pino formats the bindings of the first logger only; its children inherit this method, `this` being the child. */
function maskChildren(logger: Logger): Logger {
  const original = logger.child as unknown as Child;
  const child: Child = function (bindings, options) {
    return original.call(this, maskSecrets(bindings) as pino.Bindings, options);
  };
  return Object.assign(logger, { child }) as unknown as Logger;
}

type Child = (this: Logger, bindings: pino.Bindings, options?: pino.ChildLoggerOptions) => Logger;
