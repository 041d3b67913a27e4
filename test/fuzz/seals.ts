import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { RECORD_HEADER_BYTES, SEGMENT_HEADER_BYTES } from '../../src/member/storage/wal-format.ts';

/** Makes checksums of the disk formats fit whatever bytes stand before them. Each changes its bytes in place. */

/** The header of a log segment, whose checksum is at byte 28. */
export function resealSegmentHeader(bytes: Buffer): void {
  if (bytes.length >= SEGMENT_HEADER_BYTES) bytes.writeUInt32LE(crc32(bytes.subarray(0, 28)), 28);
}

/** The record at `offset`, of the size it claims; returns its end, or null when the claim is impossible. */
export function resealRecord(bytes: Buffer, offset: number): number | null {
  if (offset + RECORD_HEADER_BYTES + 8 > bytes.length) return null;
  const end = offset + bytes.readUInt32LE(offset + 4);
  if (end < offset + RECORD_HEADER_BYTES + 8 || end > bytes.length) return null;
  bytes.writeUInt32LE(crc32(bytes.subarray(offset + 4, end)), offset);
  return end;
}

/** All segments of a log, one after the other, each with the chain of checksums that goes through them. */
export function resealLog(bytes: Buffer, segmentBytes: number): void {
  let previous: number | null = null;
  for (let start = 0; start + SEGMENT_HEADER_BYTES <= bytes.length; start += segmentBytes) {
    const segment = bytes.subarray(start, start + segmentBytes);
    resealSegmentHeader(segment);
    let offset: number | null = SEGMENT_HEADER_BYTES;
    while (offset !== null && offset + RECORD_HEADER_BYTES <= segment.length) {
      if (segment.readUInt32LE(offset + 4) === 0) break;
      if (previous !== null) segment.writeUInt32LE(previous, offset + 8);
      const end = resealRecord(segment, offset);
      if (end !== null) previous = segment.readUInt32LE(offset);
      offset = end;
    }
  }
}

/** A value of the state store, whose checksum covers its key, too. */
export function resealValue(key: Buffer, value: Buffer): void {
  const end = value.length - 4;
  if (end >= 0) value.writeUInt32BE(crc32(value.subarray(0, end), crc32(key)), end);
}

const PREAMBLE_BYTES = 12;
const FRAME_HEAD_BYTES = 9;
const TRAILER = 4;

/** The frames of a snapshot, and the digest in the trailer; returns where the frames end. */
export function resealSnapshot(bytes: Buffer): number {
  const sha = createHash('sha256').update(bytes.subarray(0, PREAMBLE_BYTES));
  let offset = PREAMBLE_BYTES;
  while (offset + FRAME_HEAD_BYTES + 4 <= bytes.length) {
    const end = offset + FRAME_HEAD_BYTES + bytes.readUInt32BE(offset) + 4;
    if (end > bytes.length) break;
    const frame = bytes.subarray(offset, end);
    if (frame[4] === TRAILER && frame.length >= FRAME_HEAD_BYTES + 52) {
      sha
        .copy()
        .digest()
        .copy(frame, FRAME_HEAD_BYTES + 16);
    }
    frame.writeUInt32BE(crc32(frame.subarray(0, -4)), frame.length - 4);
    sha.update(frame);
    offset = end;
    if (frame[4] === TRAILER) break;
  }
  return offset;
}

/** A snapshot as a file: the digest of everything stands at its end. */
export function resealSnapshotFile(bytes: Buffer): void {
  resealSnapshot(bytes);
  if (bytes.length < 32) return;
  const end = bytes.length - 32;
  createHash('sha256').update(bytes.subarray(0, end)).digest().copy(bytes, end);
}

/** The first line of a small file, and the checksum in the second. */
export function resealSmallFile(bytes: Buffer): void {
  const end = bytes.indexOf('\n') + 1;
  const sum = `crc32 ${crc32(bytes.subarray(0, end)).toString(16).padStart(8, '0')}\n`;
  if (bytes.length - end === sum.length) bytes.write(sum, end, 'latin1');
}
