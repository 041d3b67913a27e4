import type { ConfState, Entry, Message } from '../../../src/core/raft/messages.ts';

/** One message on one line: `from->to type term=… …`. */
export function formatMessage(message: Message): string {
  return `${message.from}->${message.to} ${message.type} term=${message.term}${formatBody(message)}`;
}

/** `term/index:data`, without the colon for an empty entry. */
export function formatEntry(entry: Entry): string {
  const data = entry.kind === 'conf-change' ? 'conf' : entry.data.toString();
  return `${entry.term}/${entry.index}${data === '' ? '' : `:${data}`}`;
}

/** `voters=(…)`, with the other lists only where they hold something. */
export function formatConf(conf: ConfState): string {
  const parts = [`voters=(${conf.voters.join(' ')})`];
  if (conf.votersOutgoing.length > 0) parts.push(`outgoing=(${conf.votersOutgoing.join(' ')})`);
  if (conf.learners.length > 0) parts.push(`learners=(${conf.learners.join(' ')})`);
  if (conf.learnersNext.length > 0) parts.push(`learners-next=(${conf.learnersNext.join(' ')})`);
  if (conf.autoLeave) parts.push('auto-leave');
  return parts.join(' ');
}

function formatBody(message: Message): string {
  switch (message.type) {
    case 'vote':
      return (
        `${message.preVote ? ' pre' : ''}${message.transfer ? ' transfer' : ''}` +
        ` last=${message.lastTerm}/${message.lastIndex}`
      );
    case 'vote-response':
      return `${message.preVote ? ' pre' : ''} ${message.granted ? 'granted' : 'refused'}`;
    case 'append':
      return (
        ` prev=${message.prevTerm}/${message.prevIndex} commit=${message.commit}` +
        (message.entries.length === 0 ? '' : ` entries=${message.entries.map(formatEntry).join(' ')}`)
      );
    case 'append-response':
      return message.reject
        ? ` reject=${message.index} hint=${message.hintTerm}/${message.hintIndex}`
        : ` match=${message.index}`;
    case 'heartbeat':
      return ` commit=${message.commit}${message.readSeq === 0 ? '' : ` read=${message.readSeq}`}`;
    case 'heartbeat-response':
      return message.readSeq === 0 ? '' : ` read=${message.readSeq}`;
    case 'read-index':
      return ` context=${message.context}`;
    case 'read-index-response':
      return ` context=${message.context} index=${message.index}`;
    case 'snapshot':
      return ` ${message.snapshot.term}/${message.snapshot.index} ${formatConf(message.snapshot.confState)}`;
    case 'timeout-now':
      return '';
  }
}
