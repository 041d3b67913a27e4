import type { Caller } from '../caller.ts';
import type { ServiceContext } from '../context.ts';
import { chainOf, heirsOf } from '../environments/inheritance.ts';
import type { ConfigurationName } from '../model.ts';
import { checkName } from '../names.ts';
import { type FieldProblem, ServiceError, type ServiceErrorCode } from '../service-error.ts';
import { applyEdits } from './apply.ts';
import { ValuesAfter } from './checks.ts';
import type { ContentInput } from './content.ts';
import type { Finding } from './findings.ts';
import type { Answer } from './reads.ts';
import { editOf } from './requests.ts';

/** A change to be tried: as `put` would make it. */
export interface ValidateRequest extends ContentInput {
  readonly name: ConfigurationName;
  readonly reason?: string | undefined;
}

/** What a change would meet, and what it would reach. */
export interface Validation {
  readonly isValid: boolean;
  /** Why it would be refused. */
  readonly problems: readonly FieldProblem[];
  /** What is suspicious, but not wrong. */
  readonly findings: readonly Finding[];
  readonly impact: Impact;
}

/** Who would notice a change. */
export interface Impact {
  /** The environments that inherit the value: they have none of their own. */
  readonly inheritedBy: readonly string[];
  /** Keys of the same application whose values refer to this one. */
  readonly referencedBy: readonly string[];
  /** The instances that run the application there, as far as they registered. */
  readonly instances: readonly string[];
}

/** What makes a change invalid, rather than the trying of it. */
const REFUSALS: ReadonlySet<ServiceErrorCode> = new Set(['invalid', 'conflict', 'too-large', 'no-space']);

/** The use case that tries a change without making it. */
export class Validations {
  readonly #context: ServiceContext;

  constructor(context: ServiceContext) {
    this.#context = context;
  }

  /** @throws ServiceError `forbidden`, `invalid` for a name that cannot be; what the change would meet is in the answer */
  async validate(caller: Caller, request: ValidateRequest): Promise<Answer<Validation>> {
    const { name } = request;
    checkName(name);
    await this.#context.projection.catchUp(caller.signal);
    await this.#context.access.check(caller, 'read', name);
    const tried = await this.#try(caller, request);
    const { revision } = this.#context.projection;
    return { revision, result: { ...tried, impact: this.#impact(name) } };
  }

  async #try(caller: Caller, request: ValidateRequest): Promise<Omit<Validation, 'impact'>> {
    const { name, reason } = request;
    try {
      const { findings } = await applyEdits(
        this.#context,
        caller,
        { operation: 'update', tenant: name.tenant, options: { reason }, body: null, dryRun: true },
        (meta) => [editOf(this.#context, meta, { ...request, action: 'put', field: '' })],
      );
      return { isValid: true, problems: [], findings };
    } catch (error) {
      if (!(error instanceof ServiceError) || !REFUSALS.has(error.code)) throw error;
      const problems = error.problems.length > 0 ? error.problems : [{ field: '', message: error.message }];
      return { isValid: false, problems, findings: [] };
    }
  }

  #impact(name: ConfigurationName): Impact {
    const { projection, clock, instancesOf } = this.#context;
    const { state } = projection;
    const nowMs = clock.nowMs();
    const hasOwn = (environment: string): boolean =>
      state.configurations.find({ ...name, environment })?.isLive(nowMs) === true;
    const inheritedBy = heirsOf(state, name.tenant, name.environment).filter((heir) => {
      const chain = chainOf(state, name.tenant, heir);
      return !chain.slice(0, chain.indexOf(name.environment)).some(hasOwn);
    });
    const instances = [name.environment, ...inheritedBy].flatMap((environment) =>
      instancesOf({ ...name, environment }),
    );
    return {
      inheritedBy,
      referencedBy: new ValuesAfter(this.#context, { edits: [], nowMs }).keysReferringTo(name),
      instances: [...new Set(instances)].sort(),
    };
  }
}
