/** Ports on loopback: free ones, and the process that holds a used one. */
import { execFile } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { createConnection, createServer } from 'node:net';
import { promisify } from 'node:util';

const run = promisify(execFile);

export async function isFree(port: number): Promise<boolean> {
  // All addresses must be free too: on some systems a listener on 0.0.0.0 does not prevent a bind to 127.0.0.1.
  return (await canListen(port, '127.0.0.1')) && (await canListen(port, '0.0.0.0'));
}

function canListen(port: number, host: string): Promise<boolean> {
  return new Promise((answer) => {
    const server = createServer();
    server.once('error', () => answer(false));
    server.listen({ port, host, exclusive: true }, () => server.close(() => answer(true)));
  });
}

/** Below the systems' range for outgoing connections, so that a port kept for the next start stays free. */
const [lowest, highest] = [20_000, 30_000];

/** @param random random numbers in [0, 1) */
export async function freePorts(count: number, random: () => number = Math.random): Promise<number[]> {
  const found = new Set<number>();
  for (let tries = 0; found.size < count; tries += 1) {
    if (tries > 1000) throw new Error(`no ${count} free ports between ${lowest} and ${highest}`);
    const port = lowest + Math.floor(random() * (highest - lowest));
    if (!found.has(port) && (await isFree(port))) found.add(port);
  }
  return [...found];
}

/** Holder of a port, such as `pid 4711 (nginx)`; undefined when the system does not report it. */
export async function holderOf(port: number): Promise<string | undefined> {
  return process.platform === 'linux' ? linuxHolder(port) : await otherHolder(port);
}

function linuxHolder(port: number): string | undefined {
  const inodes = new Set<string>();
  const hex = port.toString(16).toUpperCase().padStart(4, '0');
  for (const table of ['/proc/net/tcp', '/proc/net/tcp6']) {
    for (const line of readLines(table)) {
      const fields = line.trim().split(/\s+/);
      // State 0A is LISTEN.
      if (fields[1]?.endsWith(`:${hex}`) === true && fields[3] === '0A' && fields[9] !== undefined)
        inodes.add(fields[9]);
    }
  }
  if (inodes.size === 0) return undefined;
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    let descriptors: string[];
    try {
      descriptors = readdirSync(`/proc/${pid}/fd`);
    } catch {
      continue; // of another user, or gone
    }
    for (const descriptor of descriptors) {
      try {
        const inode = /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${descriptor}`))?.[1];
        if (inode === undefined || !inodes.has(inode)) continue;
        return `pid ${pid} (${readFileSync(`/proc/${pid}/comm`, 'utf8').trim()})`;
      } catch {
        // The file descriptor was closed meanwhile.
      }
    }
  }
  return undefined;
}

function readLines(file: string): string[] {
  try {
    return readFileSync(file, 'utf8').split('\n').slice(1);
  } catch {
    return [];
  }
}

async function otherHolder(port: number): Promise<string | undefined> {
  try {
    const { stdout } = await run('lsof', ['-nP', `-iTCP:${port}`, '-sTCP:LISTEN', '-Fpc']);
    const pid = /^p(\d+)/m.exec(stdout)?.[1];
    return pid === undefined ? undefined : `pid ${pid} (${/^c(.*)/m.exec(stdout)?.[1] ?? '?'})`;
  } catch {
    return undefined;
  }
}

/** Resolves when the port has a listener. @throws otherwise, also after `timeoutMs` milliseconds */
export function answersTcp(port: number, timeoutMs = 1000): Promise<void> {
  return new Promise((answer, fail) => {
    const socket = createConnection({ port, host: '127.0.0.1', timeout: timeoutMs });
    socket.once('connect', () => {
      socket.destroy();
      answer();
    });
    socket.once('timeout', () => socket.destroy(new Error(`nothing answers at port ${port}`)));
    socket.once('error', fail);
  });
}
