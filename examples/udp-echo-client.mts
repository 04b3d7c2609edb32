/**
 * Sends each argument as a datagram, and prints the answers. A datagram may be lost: then it says so after a second.
 *
 *     node examples/udp-echo-client.mts 127.0.0.1:9000 how are you
 */
import { run } from 'greenstack';
import { Socket } from 'greenstack/socket';

const [address = '127.0.0.1:9000', ...messages] = process.argv.slice(2);

await run(() => {
  using socket = new Socket({ type: 'datagram' });
  for (const message of messages) {
    socket.sendTo(message, address);
    try {
      console.log(socket.recvFrom(1024, 1000).data.toString());
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ETIMEDOUT') throw error;
      console.log('no answer');
    }
  }
});
