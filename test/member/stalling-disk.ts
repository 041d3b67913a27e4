import type { Disk, DiskFile } from '../../src/member/ports.ts';

/** A disk whose fsyncs do not come back while it is stalled. */
export class StallingDisk implements Disk {
  readonly #disk: Disk;
  #stall: Promise<void> = Promise.resolve();
  #release: () => void = () => {};

  constructor(disk: Disk) {
    this.#disk = disk;
  }

  get root(): string {
    return this.#disk.root;
  }

  stall(): void {
    this.#stall = new Promise((resolve) => {
      this.#release = resolve;
    });
  }

  goOn(): void {
    this.#release();
  }

  async open(path: string, mode: 'create' | 'write' | 'read'): Promise<DiskFile> {
    const file = await this.#disk.open(path, mode);
    return {
      sizeBytes: () => file.sizeBytes(),
      write: (data, offset) => file.write(data, offset),
      writeDurably: async (data, offset) => {
        await file.write(data, offset);
        await this.#stall;
        await file.datasync();
      },
      read: (range) => file.read(range),
      datasync: async () => {
        await this.#stall;
        await file.datasync();
      },
      truncate: (sizeBytes) => file.truncate(sizeBytes),
      close: () => file.close(),
    };
  }

  makeDirectory(path: string): Promise<void> {
    return this.#disk.makeDirectory(path);
  }
  list(path: string): Promise<string[]> {
    return this.#disk.list(path);
  }
  exists(path: string): Promise<boolean> {
    return this.#disk.exists(path);
  }
  readFile(path: string): Promise<Buffer> {
    return this.#disk.readFile(path);
  }
  rename(paths: { readonly from: string; readonly to: string }): Promise<void> {
    return this.#disk.rename(paths);
  }
  remove(path: string): Promise<void> {
    return this.#disk.remove(path);
  }
  syncDirectory(path: string): Promise<void> {
    return this.#disk.syncDirectory(path);
  }
  space(): Promise<{ readonly freeBytes: number; readonly totalBytes: number }> {
    return this.#disk.space();
  }
}
