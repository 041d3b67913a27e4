import { type FileDescription, fileDescriptions } from './codec.ts';
import type {
  ServerReflectionRequest,
  ServerReflectionResponse,
} from './generated/grpc/reflection/v1/reflection.ts';
import type { RpcServer } from './server.ts';
import { bidi } from './service.ts';
import { rpcStatus } from './status.ts';

/**
 * Registers server reflection (`v1` and `v1alpha`, whose messages are alike), so that grpcurl and its kind need no
 * `.proto` files. Lists the services that the server has when it is asked.
 */
export function registerReflection(server: RpcServer): void {
  const files = new ReflectedFiles(fileDescriptions());
  const services = (): readonly string[] =>
    [...new Set(server.paths().map((path) => path.split('/')[1]!))].toSorted();
  const paths = [
    '/grpc.reflection.v1.ServerReflection/ServerReflectionInfo',
    '/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo',
  ] as const;
  for (const path of paths) {
    bidi(server, path, async (requests, _call, out) => {
      for await (const request of requests) {
        out.write({
          valid_host: request.host,
          original_request: request,
          ...answer(request, files, services),
        });
        await out.bytes.drained();
      }
    });
  }
}

type Answer = Pick<
  ServerReflectionResponse,
  'file_descriptor_response' | 'all_extension_numbers_response' | 'list_services_response' | 'error_response'
>;

function answer(
  request: ServerReflectionRequest,
  files: ReflectedFiles,
  services: () => readonly string[],
): Answer {
  if (typeof request.list_services === 'string') {
    return { list_services_response: { service: services().map((name) => ({ name })) } };
  }
  if (typeof request.file_by_filename === 'string') {
    return fileAnswer(files.byName(request.file_by_filename), request.file_by_filename);
  }
  if (typeof request.file_containing_symbol === 'string') {
    return fileAnswer(files.bySymbol(request.file_containing_symbol), request.file_containing_symbol);
  }
  if (typeof request.all_extension_numbers_of_type === 'string') {
    const type = request.all_extension_numbers_of_type;
    if (files.bySymbol(type).length === 0) return notFound(type);
    return { all_extension_numbers_response: { base_type_name: type, extension_number: [] } };
  }
  // proto3 files define no extensions.
  return notFound(request.file_containing_extension?.containing_type ?? 'the request');
}

function fileAnswer(found: readonly FileDescription[], wanted: string): Answer {
  if (found.length === 0) return notFound(wanted);
  return { file_descriptor_response: { file_descriptor_proto: found.map((file) => file.bytes) } };
}

function notFound(wanted: string): Answer {
  return { error_response: { error_code: rpcStatus.notFound, error_message: `${wanted} not found` } };
}

class ReflectedFiles {
  readonly #byName = new Map<string, FileDescription>();
  readonly #bySymbol = new Map<string, FileDescription>();

  constructor(files: readonly FileDescription[]) {
    for (const file of files) {
      this.#byName.set(file.name, file);
      for (const symbol of file.symbols) this.#bySymbol.set(symbol, file);
    }
  }

  byName(name: string): readonly FileDescription[] {
    const file = this.#byName.get(name);
    return file === undefined ? [] : this.#withImports(file);
  }

  bySymbol(symbol: string): readonly FileDescription[] {
    const file = this.#bySymbol.get(symbol);
    return file === undefined ? [] : this.#withImports(file);
  }

  /** The file, then everything it imports, each once. */
  #withImports(file: FileDescription): readonly FileDescription[] {
    const found = new Set([file]);
    for (const known of found) for (const name of known.dependencies) found.add(this.#byName.get(name)!);
    return [...found];
  }
}
