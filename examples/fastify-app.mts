/**
 * A Fastify app whose handlers block: files of a folder, and pages of another server.
 *
 *     node examples/fastify-app.mts 127.0.0.1:8080 . &
 *     curl http://127.0.0.1:8080/files http://127.0.0.1:8080/size/README.md
 */
import { opendir, stat } from 'node:fs/promises';
import type { Server } from 'node:http';
import { join } from 'node:path';
import fastify from 'fastify';
import { cooperative, run, waitFor } from 'greenstack';
import { NodeServer } from 'greenstack/http';

const [address = '127.0.0.1:8080', folder = '.'] = process.argv.slice(2);
const fs = cooperative({ opendir, stat });

const app = fastify({ serverFactory: (listener) => new NodeServer(listener) as unknown as Server });

app.get('/files', () => {
  const names: string[] = [];
  for (const { name } of fs.opendir(folder)) names.push(name);
  return names.sort();
});

app.get('/size/:name', (request, reply) => {
  const { name } = request.params as { name: string };
  try {
    return { size: fs.stat(join(folder, name)).size };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    return reply.code(404).send({ error: 'no such file' });
  }
});

await run(() => {
  const [host = '', port] = address.split(':');
  console.log(waitFor(app.listen({ host, port: Number(port) })).replace('http://', 'listening at '));
});
