import { Counter, Gauge, type Registry } from 'prom-client';

/** How the thread of the configuration service is doing. */
export interface WorkerFigures {
  /** Everything is served. */
  readonly isServing: boolean;
  /** Since the start of the process. */
  readonly restarts: number;
  /** Of them, those of a thread that hung. */
  readonly hangs: number;
  /** The part of the time since they were last asked for in which it was busy, 0 to 1. */
  readonly utilization: number;
}

/** Answers a function that takes the figures at every scrape. */
export function workerMetrics(registry: Registry): (figures: WorkerFigures) => void {
  const registers = [registry];
  const serving = new Gauge({
    name: 'conclave_service_up',
    help: 'Whether the configuration service is served',
    registers,
  });
  const restarts = new Counter({
    name: 'conclave_service_restarts_total',
    help: 'How often its thread ended and was started again',
    registers,
  });
  const hangs = new Counter({
    name: 'conclave_service_hangs_total',
    help: 'How often its thread answered no more and was ended',
    registers,
  });
  const busy = new Gauge({
    name: 'conclave_service_thread_utilization',
    help: 'Part of the time since the last scrape in which its thread was busy',
    registers,
  });
  let last = { restarts: 0, hangs: 0 };
  return (figures) => {
    serving.set(Number(figures.isServing));
    restarts.inc(figures.restarts - last.restarts);
    hangs.inc(figures.hangs - last.hangs);
    last = figures;
    busy.set(figures.utilization);
  };
}
