/**
 * Seeds that once found something. They run with every test; docs/track-record.md says what, and all that it names are
 * here. A change of the simulator or of a plan gives a seed another run: then it only keeps its place as one more seed.
 */
export const REGRESSION_SEEDS: readonly number[] = [
  89, 169, 526, 677, 3_008, 20_740, 1_001_917, 2_000_173, 1_795_284_147, 20_001_537, 30_000_270, 40_000_657,
  50_001_545, 60_000_495, 80_000_046, 19, 24, 90_001_505, 110_000_560, 162_220_064, 150_000_967, 180_000_239,
  200_000_634, 220_001_300, 250_000_304, 300_001_750, 173_817_318,
];
