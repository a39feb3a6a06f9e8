// Fastify with pg, two processes.
import cluster from 'node:cluster';
import fastify from 'fastify';

if (cluster.isPrimary) {
  cluster.fork();
  cluster.fork();
  cluster.on('exit', () => process.exit(1));
} else {
  const { accept } = await import('./accept.js');
  const app = fastify({ bodyLimit: 16 * 1024 });
  // The signature is over the bytes.
  app.removeContentTypeParser('application/json');
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (_, body, done) => {
    done(null, body);
  });
  app.post('/v1/callbacks/:source', async (request, reply) => {
    const [status, body] = await accept(request.params.source, request.headers, request.body);
    return reply.code(status).send(body);
  });
  await app.listen({ port: Number(process.env.PORT), host: '127.0.0.1' });
}
