import type { Entry } from '../../src/core/raft/messages.ts';
import type { StateMarker } from '../../src/core/state.ts';
import { type Applied, StateMachine } from '../../src/core/state-machine.ts';

/** What is seen of every state machine in this process. */
export interface StateMachineListener {
  applied(entry: Entry, applied: Applied): void;
  marked(marker: StateMarker): void;
  membersChanged(machine: StateMachine): void;
}

let listener: StateMachineListener | null = null;
let installed = false;

/**
 * Lets the checkers look over the shoulder of every state machine. The production class is wrapped, not changed; what
 * it does and answers stays the same.
 */
export function watchStateMachines(next: StateMachineListener | null): void {
  listener = next;
  if (installed) return;
  installed = true;
  const { prototype } = StateMachine;
  // Each is called on the very object that it was taken from the prototype of.
  // oxlint-disable-next-line typescript/unbound-method
  const { apply, takeBatch, confStateChanged, finish } = prototype;
  prototype.apply = function (entry): Applied {
    const applied = apply.call(this, entry);
    listener?.applied(entry, applied);
    return applied;
  };
  prototype.takeBatch = function () {
    const batch = takeBatch.call(this);
    if (batch !== null) listener?.marked(batch.marker);
    return batch;
  };
  prototype.confStateChanged = function (confState): void {
    confStateChanged.call(this, confState);
    listener?.membersChanged(this);
  };
  prototype.finish = function (marker): void {
    finish.call(this, marker);
    listener?.marked(marker);
  };
}
