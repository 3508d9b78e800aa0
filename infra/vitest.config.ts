import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    setupFiles: ['test/setup.ts'],
    // The CDK takes seconds to load, and the tests share nothing but what they make: one process loads it once.
    isolate: false,
    fileParallelism: false,
    testTimeout: 180_000,
  },
});
