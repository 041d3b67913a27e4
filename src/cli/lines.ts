import { StringDecoder } from 'node:string_decoder';
import { ClientError } from '../client/client-error.ts';

/** Characters of one line. */
const LINE_LENGTH_MAX = 64 * 1024 * 1024;

/** The lines of a text that comes in pieces, without their ends; empty ones are left out. @throws ClientError `data-loss` */
export async function* linesFrom(pieces: AsyncIterable<Buffer>): AsyncGenerator<string> {
  const decoder = new StringDecoder('utf8');
  let rest = '';
  for await (const piece of pieces) {
    const lines = (rest + decoder.write(piece)).split('\n');
    rest = lines.pop()!;
    if (rest.length > LINE_LENGTH_MAX) throw new ClientError('data-loss', 'a line of the answer has no end');
    for (const line of lines) if (line.trim() !== '') yield line;
  }
  rest += decoder.end();
  if (rest.trim() !== '') yield rest;
}
