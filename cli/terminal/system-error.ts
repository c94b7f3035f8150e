/** Readable errors of the operating system, with a remedy. Their causes are folders, ports and disks of the user. */
import { MillraceError } from '../../core/base/errors.ts';

const explanations: Readonly<Record<string, (where: string) => MillraceError>> = {
  EACCES: denied,
  EPERM: denied,
  EROFS: (where) => invalid(`${where} is on a read-only file system`, 'Choose another folder.'),
  ENOTDIR: (where) => invalid(`${where}: a part of this path is not a folder`, 'Correct the path.'),
  EISDIR: (where) => invalid(`${where} is a folder where a file is needed`, 'Name a file.'),
  ENOENT: (where) => invalid(`${where} does not exist`, 'Correct the path.'),
  ENOSPC: (where) => invalid(`the disk of ${where} is full`, 'Make room, or choose a folder on another disk.'),
  EMFILE: () => invalid('too many files are open', 'Raise the limit of open files: ulimit -n 65536.'),
  EADDRINUSE: (where) =>
    new MillraceError('PORT_TAKEN', `another process listens on ${where}`, {
      remedy: 'Stop it, or choose another port; --port 0 takes a free one.',
    }),
};

/** An operating-system error as a MillraceError, with the original as its cause. Any other error is returned unchanged. */
export function explained(error: unknown): unknown {
  if (!(error instanceof Error) || error instanceof MillraceError) return error;
  const { code, path, address, port } = error as NodeJS.ErrnoException & { address?: string; port?: number };
  const explain = code === undefined ? undefined : explanations[code];
  const where = path ?? (port === undefined ? undefined : `${address ?? ''}:${port}`);
  if (explain === undefined || where === undefined) return error;
  const told = explain(where);
  told.cause = error;
  return told;
}

function denied(where: string): MillraceError {
  return invalid(
    `${where} cannot be read or written by this user`,
    'Change its rights, or choose another folder: MILLRACE_HOME for stacks, MILLRACE_CACHE for installed parts.',
  );
}

function invalid(message: string, remedy: string): MillraceError {
  return new MillraceError('CONFIG_INVALID', message, { remedy });
}
