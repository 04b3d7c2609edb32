/**
 * A NestJS app whose services block. Decorators are called as functions, since Node does not run their syntax.
 *
 *     node examples/nest-app.mts 127.0.0.1:8080 &
 *     curl http://127.0.0.1:8080/words/tea
 */
import 'reflect-metadata';
import type { Server } from 'node:http';
import { Controller, Get, Inject, Injectable, Module, NotFoundException, Param } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { ExpressAdapter } from '@nestjs/platform-express';
import { run, sleep, waitFor } from 'greenstack';
import { NodeServer } from 'greenstack/http';

const [address = '127.0.0.1:8080'] = process.argv.slice(2);

class Dictionary {
  lookUp(word: string): string {
    sleep(10);
    if (word !== 'tea') throw new NotFoundException(`no ${word}`);
    return 'a drink';
  }
}
Injectable()(Dictionary);

class WordsController {
  readonly dictionary: Dictionary;

  constructor(dictionary: Dictionary) {
    this.dictionary = dictionary;
  }

  find(word: string): { meaning: string } {
    return { meaning: this.dictionary.lookUp(word) };
  }
}
Controller('words')(WordsController);
Inject(Dictionary)(WordsController, undefined, 0);
Get(':word')(
  WordsController.prototype,
  'find',
  Object.getOwnPropertyDescriptor(WordsController.prototype, 'find')!,
);
Param('word')(WordsController.prototype, 'find', 0);

class AppModule {}
Module({ controllers: [WordsController], providers: [Dictionary] })(AppModule);

class GreenletAdapter extends ExpressAdapter {
  override initHttpServer(): void {
    this.httpServer = new NodeServer(this.getInstance()) as unknown as Server;
  }
}

await run(() => {
  const app = waitFor(NestFactory.create(AppModule, new GreenletAdapter(), { logger: ['error'] }));
  const [host = '', port = ''] = address.split(':');
  const server = waitFor(app.listen(Number(port), host)) as NodeServer;
  console.log(`listening at ${host}:${Object(server.address()).port}`);
});
