/** Sockets whose calls park only the greenlet, TCP, UDP and Unix-domain: `greenstack/socket`. */
export type { BytesLike } from './bytes.js';
export { Connection, type RecvIntoOptions, type SocketTimeout } from './connection.js';
export type { Descriptor } from './descriptors.js';
export {
  type AddrInfo,
  type AddrInfoOptions,
  getAddrInfo,
  getFqdn,
  getHostByAddr,
  getHostByName,
  getHostByNameEx,
  getNameInfo,
  type HostEntry,
  type NameInfoOptions,
  type NameOptions,
} from './dns.js';
export type { Address, SocketAddress } from './socket-address.js';
export { type ConnectOptions, createConnection } from './socket/connect.js';
export {
  type FileEncoding,
  type FileOptions,
  LineTooLong,
  SocketFile,
  UnexpectedEnd,
} from './socket/file.js';
export { createServer, type ListenOptions } from './socket/listen.js';
export type { SocketOptionName, SocketOptionValues } from './socket/options.js';
export {
  type Datagram,
  type FileSource,
  type SendFileOptions,
  Socket,
  type SocketOptions,
  socketPair,
} from './socket/socket.js';
export { waitRead, waitReadWrite, waitWrite } from './socket/wait.js';
