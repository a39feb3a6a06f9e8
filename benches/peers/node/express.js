// Express with pg, two processes.
import cluster from 'node:cluster';
import express from 'express';

if (cluster.isPrimary) {
  cluster.fork();
  cluster.fork();
  cluster.on('exit', () => process.exit(1));
} else {
  const { accept } = await import('./accept.js');
  const app = express();
  app.post(
    '/v1/callbacks/:source',
    express.raw({ type: 'application/json', limit: '16kb' }),
    async (request, response) => {
      const [status, body] = await accept(request.params.source, request.headers, request.body);
      response.status(status).json(body);
    },
  );
  app.listen(Number(process.env.PORT), '127.0.0.1');
}
