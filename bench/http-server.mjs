/** The server of the HTTP operations. Prints its port, and ends with its standard input. */
import { run, sleep } from 'greenstack';
import { HttpResponse, HttpServer } from 'greenstack/http';

const large = 'x'.repeat(10_000);

/** @param {import('greenstack/http').HttpRequest} request */
function answer(request) {
  switch (request.path) {
    case '/json':
      return HttpResponse.json(request.json());
    case '/large':
      return large;
    case '/backend':
      sleep(5);
      return 'hello';
    default:
      return 'hello';
  }
}

const server = new HttpServer('0.0.0.0:0', answer, { backlog: 4096, idleTimeout: Infinity });
process.stdin.resume().on('end', () => process.exit());
await run(() => {
  server.start();
  console.log(server.address.port);
  server.serveForever();
});
