import type {
  DeleteAnswer,
  KeyValue,
  PutAnswer,
  RangeAnswer,
  ResponseHeader,
  TxnAnswer,
  WatchBatch,
} from '../client/types.ts';

/** Answers of the store as commands print them: raw lines, or the fields of the wire for JSON. */

const NEWLINE = Buffer.from('\n');

type AnyAnswer = RangeAnswer | PutAnswer | DeleteAnswer | TxnAnswer;

/** Which parts of a key are printed. */
export interface KeyFormat {
  readonly valueOnly: boolean;
  readonly keysOnly: boolean;
  readonly countOnly: boolean;
}
export const WHOLE_KEYS: KeyFormat = { valueOnly: false, keysOnly: false, countOnly: false };

/** Keys and values as they are, one a line; bytes that are no text come out unchanged. */
export function answerLines(answer: AnyAnswer, format: KeyFormat = WHOLE_KEYS): Buffer {
  switch (answer.type) {
    case 'range':
      if (format.countOnly) return Buffer.from(`${answer.count}\n`);
      return Buffer.concat(answer.kvs.map((kv) => keyLines(kv, format)));
    case 'put':
      return Buffer.concat([
        Buffer.from('OK\n'),
        ...(answer.prevKv === null ? [] : [keyLines(answer.prevKv)]),
      ]);
    case 'delete':
      return Buffer.concat([Buffer.from(`${answer.deleted}\n`), ...answer.prevKvs.map((kv) => keyLines(kv))]);
    case 'txn': {
      const verdict = Buffer.from(answer.succeeded ? 'SUCCESS\n' : 'FAILURE\n');
      return Buffer.concat([
        verdict,
        ...answer.responses.flatMap((response) => [NEWLINE, answerLines(response)]),
      ]);
    }
  }
}

export function eventLines(batch: WatchBatch): Buffer {
  return Buffer.concat(
    batch.events.map(({ type, kv, prevKv }) =>
      Buffer.concat([
        Buffer.from(`${type.toUpperCase()}\n`),
        prevKv === null ? Buffer.alloc(0) : keyLines(prevKv),
        type === 'put' ? keyLines(kv) : Buffer.concat([kv.key, NEWLINE]),
      ]),
    ),
  );
}

function keyLines(kv: KeyValue, { valueOnly, keysOnly }: KeyFormat = WHOLE_KEYS): Buffer {
  const key = [kv.key, NEWLINE];
  const value = [kv.value, NEWLINE];
  return Buffer.concat([...(valueOnly ? [] : key), ...(keysOnly ? [] : value)]);
}

// ---- JSON ---------------------------------------------------------------------------------------------------

export function headerFields(header: ResponseHeader): Record<string, unknown> {
  return {
    cluster_id: header.clusterId,
    member_id: header.memberId,
    revision: header.revision,
    raft_term: header.raftTerm,
  };
}

/** The fields of the wire, defaults left out as etcd's tools do. */
export function answerFields(answer: AnyAnswer): Record<string, unknown> {
  const header = headerFields(answer.header);
  switch (answer.type) {
    case 'range': {
      const { kvs, more, count } = answer;
      return { header, ...(kvs.length > 0 && { kvs: kvs.map(kvFields) }), ...(more && { more }), count };
    }
    case 'put':
      return { header, ...(answer.prevKv !== null && { prev_kv: kvFields(answer.prevKv) }) };
    case 'delete': {
      const { deleted, prevKvs } = answer;
      return { header, deleted, ...(prevKvs.length > 0 && { prev_kvs: prevKvs.map(kvFields) }) };
    }
    case 'txn':
      return { header, succeeded: answer.succeeded, responses: answer.responses.map(responseFields) };
  }
}

function responseFields(response: AnyAnswer): Record<string, unknown> {
  const names = {
    range: 'response_range',
    put: 'response_put',
    delete: 'response_delete_range',
    txn: 'response_txn',
  };
  return { [names[response.type]]: answerFields(response) };
}

export function batchFields(batch: WatchBatch): Record<string, unknown> {
  const events = batch.events.map(({ type, kv, prevKv }) => ({
    ...(type === 'delete' && { type: 'DELETE' }),
    kv: kvFields(kv),
    ...(prevKv !== null && { prev_kv: kvFields(prevKv) }),
  }));
  return { header: headerFields(batch.header), events };
}

function kvFields(kv: KeyValue): Record<string, unknown> {
  return {
    key: kv.key,
    create_revision: kv.createRevision,
    mod_revision: kv.modRevision,
    version: kv.version,
    value: kv.value,
    ...(kv.lease !== 0n && { lease: kv.lease }),
  };
}
