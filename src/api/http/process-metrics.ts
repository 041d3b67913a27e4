import { collectDefaultMetrics, Gauge, Registry } from 'prom-client';

/** The metrics of a process that is no member: its own, and whatever is added to the page. */
export class ProcessMetrics {
  readonly #registry = new Registry();

  constructor(version: string) {
    collectDefaultMetrics({ register: this.#registry });
    new Gauge({
      name: 'conclave_build_info',
      help: 'Version of this program',
      labelNames: ['version'],
      registers: [this.#registry],
    })
      .labels(version)
      .set(1);
  }

  /** In the Prometheus text format. */
  render(): Promise<string> {
    return this.#registry.metrics();
  }
}
