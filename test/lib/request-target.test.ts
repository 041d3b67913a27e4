import { expect, test } from 'vitest';
import { requestTarget } from '../../src/lib/request-target.ts';

test.each([
  ['/version', '/version', '', null],
  ['/health?exclude=a?b', '/health', 'exclude=a?b', null],
  ['http://store:2379/v3/kv/range', '/v3/kv/range', '', 'store:2379'],
  ['HTTPS://[::1]:2379/health?serializable=true', '/health', 'serializable=true', '[::1]:2379'],
  ['http://store', '/', '', 'store'],
  ['http://store?/health', '/', '/health', 'store'],
  ['/http://store/version', '/http://store/version', '', null],
  ['/a?http://store/version', '/a', 'http://store/version', null],
  ['ftp://store/version', 'ftp://store/version', '', null],
  ['*', '*', '', null],
  ['', '/', '', null],
  [undefined, '/', '', null],
])('the target %s', (url, path, query, host) => {
  expect(requestTarget(url)).toEqual({ path, query, host });
});
