import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { type CrashPoint, PRELOAD } from './crash-steps.ts';

/** What is changed in a server besides, so that rare steps come often. */
export interface CrashSettings {
  readonly logSegmentBytes?: number;
  /** The same for the log that a restore makes. */
  readonly firstSegmentBytes?: number;
  readonly ticksPerBarrier?: number;
  /** What the disk says of its free space. */
  readonly freeBytes?: number;
  /** Write down every step: see `CrashJournal`. */
  readonly journal?: boolean;
}

/** The directory through which a test and the module that is loaded into one server talk to each other. */
export class CrashControl {
  readonly #directory: string;

  private constructor(directory: string) {
    this.#directory = directory;
  }

  static async make(directory: string, settings: CrashSettings): Promise<CrashControl> {
    await mkdir(directory, { recursive: true });
    const control = new CrashControl(directory);
    await control.change(settings);
    return control;
  }

  /** What the server's environment has to hold. */
  get variables(): NodeJS.ProcessEnv {
    return { NODE_OPTIONS: `--import=${pathToFileURL(PRELOAD).href}`, CRASH_CONTROL: this.#directory };
  }

  get journalPath(): string {
    return join(this.#directory, 'journal');
  }

  /** For the next start of the server. */
  change(settings: CrashSettings): Promise<void> {
    return writeFile(join(this.#directory, 'settings.json'), JSON.stringify(settings));
  }

  /** For the next start of the server, or on SIGUSR2. */
  arm(
    point: Pick<CrashPoint, 'step' | 'when'>,
    how: { readonly occurrence: number; readonly action: 'kill' | 'stop' },
  ): Promise<void> {
    const { step, when } = point;
    return writeFile(join(this.#directory, 'armed.json'), JSON.stringify({ step, when, ...how }));
  }

  disarm(): Promise<void> {
    return rm(join(this.#directory, 'armed.json'), { force: true });
  }

  /** Names of the points at which the server was ended or stopped, in order. */
  hits(): Promise<readonly string[]> {
    return this.#lines('hits');
  }

  /** Names of the steps that were taken, in all starts of the server. */
  seen(): Promise<readonly string[]> {
    return this.#lines('seen');
  }

  async #lines(name: string): Promise<readonly string[]> {
    const text = await readFile(join(this.#directory, name), 'utf8').catch(() => '');
    return text.split('\n').filter((line) => line !== '');
  }
}
