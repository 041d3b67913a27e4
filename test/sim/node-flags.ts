/**
 * What a process that simulates is started with: nearly all it makes dies young, and a larger nursery copies less of
 * it; and with as many simulators as cores, threads that collect beside them only take turns from them. The same
 * stand in package.json and in .ci/run.
 */
export const SIM_NODE_FLAGS = ['--max-semi-space-size=64', '--single-threaded-gc'] as const;
