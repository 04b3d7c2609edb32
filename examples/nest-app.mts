/**
 * A NestJS app whose services and guards block. Node does not run the syntax of decorators, so they are called here.
 *
 *     node examples/nest-app.mts 127.0.0.1:8080 &
 *     curl http://127.0.0.1:8080/words/tea
 */
import 'reflect-metadata';
import { Controller, Get, Inject, Module, NotFoundException, Param, UseGuards } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { asyncify, sleep } from 'greenstack';

const [host, port] = (process.argv[2] ?? '127.0.0.1:8080').split(':');

/** A decorator: the method may block, wherever Nest calls it from. It is the one next to the method. */
const Blocking: MethodDecorator = (_target, _key, descriptor) => {
  descriptor.value = asyncify(descriptor.value as () => unknown) as typeof descriptor.value;
};

class Dictionary {
  lookUp(word: string): string {
    sleep(10); // a database, for instance
    if (word !== 'tea') throw new NotFoundException(`no ${word}`);
    return 'a drink';
  }
}

class Door {
  canActivate(): boolean {
    sleep(10);
    return true;
  }
}
decorate(Door, 'canActivate', [Blocking]);

class WordsController {
  readonly dictionary: Dictionary;

  constructor(dictionary: Dictionary) {
    this.dictionary = dictionary;
  }

  find(word: string): { meaning: string } {
    return { meaning: this.dictionary.lookUp(word) };
  }
}
Reflect.decorate([Controller('words'), UseGuards(Door)], WordsController);
Inject(Dictionary)(WordsController, undefined, 0);
Param('word')(WordsController.prototype, 'find', 0);
decorate(WordsController, 'find', [Get(':word'), Blocking]);

class AppModule {}
Module({ controllers: [WordsController], providers: [Dictionary, Door] })(AppModule);

function decorate({ prototype }: { prototype: object }, name: string, decorators: MethodDecorator[]): void {
  const method = Object.getOwnPropertyDescriptor(prototype, name)!;
  Object.defineProperty(prototype, name, Reflect.decorate(decorators, prototype, name, method));
}

const app = await NestFactory.create(AppModule, { logger: ['error'] });
console.log(`listening at ${host}:${(await app.listen(Number(port), host!)).address().port}`);
