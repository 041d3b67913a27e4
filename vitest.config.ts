import { defineConfig } from 'vitest/config';

/** A directory for reports by which what ran can be counted: one of every run of vitest. */
const reports = process.env['TEST_REPORTS'];

/**
 * Time limits are for what never comes about. On a machine that others use too, what comes about takes as long as it
 * takes: `expect.poll` waits half of what a test has.
 */
const shared = {
  env: { VERIFY: '1' },
  testTimeout: 120_000,
  hookTimeout: 120_000,
  expect: { poll: { timeout: 60_000 } },
};

export default defineConfig({
  test: {
    // Of the unit tests, with --coverage. What other threads and processes run does not count.
    coverage: {
      provider: 'v8',
      include: ['src/**/*.ts'],
      exclude: ['src/rpc/generated/**'],
      reporter: ['text-summary', 'json-summary'],
      thresholds: { lines: 85 },
    },
    ...(reports === undefined
      ? {}
      : { reporters: ['default', ['json', { outputFile: `${reports}/${process.pid}.json` }]] }),
    projects: [
      {
        test: {
          ...shared,
          name: 'unit',
          include: ['test/**/*.test.ts'],
          exclude: ['test/process/**', 'test/e2e/**'],
        },
      },
      {
        test: {
          ...shared,
          name: 'process',
          include: ['test/process/**/*.test.ts'],
          fileParallelism: false,
          testTimeout: 180_000,
        },
      },
      {
        test: {
          ...shared,
          name: 'e2e',
          include: ['test/e2e/**/*.test.ts'],
          fileParallelism: false,
          testTimeout: 300_000,
        },
      },
    ],
  },
});
