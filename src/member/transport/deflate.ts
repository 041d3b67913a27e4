import { deflateRaw, inflateRaw } from 'node:zlib';
import { Limiter } from '../../lib/limiter.ts';
import { encodeFrame, FRAME_HEADER_BYTES, type Frame, frameKinds, ProtocolError } from './frame.ts';

/** Frames shorter than this are not worth a job, longer ones not their memory: they travel as they are. Payload bytes. */
export const DEFLATE_BYTES_MIN = 4 * 1024;
export const DEFLATE_BYTES_MAX = 16 * 1024 * 1024;

/** u8 kind and u32 length of the frame within. */
const HEAD_BYTES = 5;
/** As fast as the fastest, and 16 % larger than level 6 at a third of its time. */
const LEVEL = 1;
/** What must be saved, or the frame travels as it is. */
const SAVED_SHARE_MIN = 0.1;
/** Jobs at a time in this process: the threads that do them also wait for the disk. */
const JOBS_MAX = 2;
const jobs = new Limiter(JOBS_MAX);
/** Output is gathered in pieces of this size: a length announced from outside costs nothing by itself. */
const CHUNK_BYTES = 64 * 1024;

/** Whether a frame is of a size to be deflated. */
export function isDeflatable({ sizeBytes }: Frame): boolean {
  const payloadBytes = sizeBytes - FRAME_HEADER_BYTES;
  return payloadBytes >= DEFLATE_BYTES_MIN && payloadBytes <= DEFLATE_BYTES_MAX;
}

/**
 * Deflates a frame into a frame, off the main thread.
 *
 * @returns null when that saves too little; then the original is to be sent
 */
export async function deflateFrame(frame: Frame): Promise<Frame | null> {
  const whole = frame.parts.length === 1 ? frame.parts[0]! : Buffer.concat(frame.parts);
  const payload = whole.subarray(FRAME_HEADER_BYTES);
  const deflated = await jobs.run(async () => deflateOnce(payload));
  if (deflated.length + HEAD_BYTES > payload.length * (1 - SAVED_SHARE_MIN)) return null;
  const head = Buffer.allocUnsafe(HEAD_BYTES);
  head[0] = whole[FRAME_HEADER_BYTES - 1]!;
  head.writeUInt32BE(payload.length, 1);
  return encodeFrame(frameKinds.deflated, head, deflated);
}

function deflateOnce(payload: Buffer): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    deflateRaw(payload, { level: LEVEL }, (error, result) => {
      if (error === null) resolve(result);
      else reject(error);
    });
  });
}

/** What the frame within a deflated one takes. @throws ProtocolError */
export function inflatedBytes(payload: Buffer): number {
  return readHead(payload).sizeBytes;
}

/** A frame's payload, and what kind of frame it is. */
export interface Inflated {
  readonly kind: number;
  readonly payload: Buffer;
}

/**
 * The frame within a deflated one, off the main thread. Memory is bounded by the announced length, and that by
 * DEFLATE_BYTES_MAX.
 *
 * @param payload must not change until this has resolved
 * @throws ProtocolError when it is longer or shorter than announced, is not deflated, or holds a deflated frame again
 */
export async function inflateFrame(payload: Buffer): Promise<Inflated> {
  const { kind, sizeBytes } = readHead(payload);
  const inflated = await jobs.run(async () => inflateOnce(payload.subarray(HEAD_BYTES), sizeBytes));
  if (inflated.length !== sizeBytes) throw new ProtocolError('a deflated frame is shorter than announced');
  return { kind, payload: inflated };
}

function inflateOnce(bytes: Buffer, sizeBytesMax: number): Promise<Buffer> {
  const options = { maxOutputLength: sizeBytesMax, chunkSize: Math.min(sizeBytesMax, CHUNK_BYTES) };
  return new Promise((resolve, reject) => {
    inflateRaw(bytes, options, (error, result) => {
      if (error === null) resolve(result);
      else reject(new ProtocolError(`a frame cannot be inflated: ${error.message}`));
    });
  });
}

function readHead(payload: Buffer): { readonly kind: number; readonly sizeBytes: number } {
  if (payload.length < HEAD_BYTES) throw new ProtocolError('a deflated frame is cut short');
  const kind = payload[0]!;
  const sizeBytes = payload.readUInt32BE(1);
  if (kind === frameKinds.deflated) throw new ProtocolError('a frame is deflated twice');
  if (sizeBytes < DEFLATE_BYTES_MIN || sizeBytes > DEFLATE_BYTES_MAX) {
    throw new ProtocolError('a frame of this size is never deflated');
  }
  return { kind, sizeBytes };
}
