import { codec } from '../../rpc/codec.ts';
import type { RpcServer } from '../../rpc/server.ts';
import { serverStream, unary } from '../../rpc/service.ts';
import type { KnownFlags } from '../../service/flags/flag-sets.ts';

import { FlagFace, type FlagFaceOptions } from './face.ts';

/** What is subscribed to is as new as the call, and so is what is read after it. */
const EVENTUAL = { type: 'eventual' } as const;

/** Registers `flags.v1.FlagService`, from which this package's client has its flags, and tells how often they answered. */
export function registerFlags(server: RpcServer, options: FlagFaceOptions): void {
  const face = new FlagFace(options);
  const { flagReads, usageReports } = options.service;
  const wire = codec('flags.v1.Definitions');
  /** All who watch the same flags are told the same. */
  const encoded = new WeakMap<KnownFlags['set'], Buffer>();
  const bytesOf = ({ set, flags, segments, digest }: KnownFlags, revision: number): Buffer => {
    const known = encoded.get(set);
    if (known !== undefined) return known;
    const document = JSON.stringify({ flags: [...flags.values()], segments: [...segments.values()] });
    const bytes = wire.encode({ revision, digest, document });
    encoded.set(set, bytes);
    return bytes;
  };
  unary(server, '/flags.v1.FlagService/Count', (message, call) =>
    face.answer(call, async (caller) => {
      const counts = message.counts.map(({ flag, variant, reason, service, count }) => ({
        flag,
        variant: variant === '' ? null : variant,
        reason,
        service: service === '' ? null : service,
        count: Number(count),
      }));
      await usageReports.add(caller, { scope: face.scopeOf(call, message), counts });
      return {};
    }),
  );
  serverStream(server, '/flags.v1.FlagService/Watch', (message, call, out) =>
    face.answer(call, async (caller) => {
      const scope = face.scopeOf(call, message);
      let told = '';
      const tell = async (): Promise<void> => {
        const { result, revision } = await flagReads.definitions(caller, { scope, consistency: EVENTUAL });
        if (result.digest === told) return;
        told = result.digest;
        out.bytes.write(bytesOf(result, revision));
        if (!out.bytes.writable) await out.bytes.drained();
      };
      const { changes } = await flagReads.subscribe(caller, { scope, after: null });
      await tell();
      // What comes of itself is in the definitions.
      for await (const { cause } of changes) if (cause === 'change') await tell();
    }),
  );
}
