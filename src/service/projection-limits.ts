/** Configurations, deleted ones included, that one cluster may have: beyond it none is created. */
export const CONFIGURATIONS_MAX = 1_000_000;

/** What they may take together in the memory of each server: beyond it none is created. */
export const CONFIGURATION_BYTES_MAX: number = 1024 * 1024 * 1024;
