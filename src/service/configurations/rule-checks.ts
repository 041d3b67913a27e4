import type { ServiceContext } from '../context.ts';
import { environmentsOf, heirsOf } from '../environments/inheritance.ts';
import type { Application, CrossKeyRule, Json, Scope } from '../model.ts';
import { checkName, Problems } from '../names.ts';
import { invalid } from '../service-error.ts';
import { brokenRules, checkRule, type RuleFinding } from '../values/cross-key-rules.ts';
import { parseJson } from '../values/value-types.ts';
import type { Edit } from './content.ts';
import { hasConfigurations, type Looking, type Overlay, valuesUnder } from './effective-values.ts';
import type { Finding } from './findings.ts';

/** Default values, and rules, of one application. */
export const DEFAULTS_MAX = 1_000;
export const RULES_MAX = 50;
/** Characters of a rule's name, and of its message. */
const RULE_NAME_LENGTH_MAX = 100;
const RULE_MESSAGE_LENGTH_MAX = 1_000;

/** A scope that is fine, where only a key is to be checked. */
const ANYWHERE = { tenant: 'any', environment: 'any', application: 'any' };

/** The rules that a change of configurations would break: in the environments that it changes, and those that inherit. */
export function ruleFindings(
  context: ServiceContext,
  { edits, nowMs }: { readonly edits: readonly Edit[]; readonly nowMs: number },
): readonly Finding[] {
  const { state } = context.projection;
  const overlay = { edits };
  const scopes = new Map<string, Scope>();
  for (const { name } of edits) {
    const { tenant, environment, application } = name;
    if ((state.application(tenant, application)?.row.rules ?? []).length === 0) continue;
    for (const id of [environment, ...heirsOf(state, tenant, environment)]) {
      scopes.set(`${tenant}/${id}/${application}`, { tenant, environment: id, application });
    }
  }
  return [...scopes.values()].flatMap((scope) =>
    newlyBroken(context, { scope, nowMs, overlay }).map(
      ({ rule, message }): Finding => ({
        severity: 'error',
        check: 'rule',
        field: edits.length === 1 ? 'value' : 'items',
        message: `${scope.environment}: ${rule}: ${message}`,
      }),
    ),
  );
}

/** @throws ServiceError `invalid` where another parent would break rules of applications */
export function checkParent(
  context: ServiceContext,
  {
    tenant,
    environments,
    nowMs,
    parentOf,
  }: {
    readonly tenant: string;
    readonly environments: readonly string[];
    readonly nowMs: number;
    readonly parentOf: NonNullable<Overlay['parentOf']>;
  },
): void {
  const problems = new Problems();
  for (const { row } of context.projection.state.applications(tenant)) {
    if (row.rules.length === 0) continue;
    for (const environment of environments) {
      const looking = {
        scope: { tenant, environment, application: row.name },
        nowMs,
        overlay: { edits: [], parentOf },
      };
      for (const { rule, message } of newlyBroken(context, looking)) {
        problems.add('parent', `${environment}: ${row.name}: ${rule}: ${message}`);
      }
    }
  }
  problems.check();
}

/** @throws ServiceError `invalid` for rules that are none, or that do not hold where there are configurations */
export function checkRules(
  context: ServiceContext,
  {
    before,
    after,
    nowMs,
  }: { readonly before: Application | null; readonly after: Application; readonly nowMs: number },
): void {
  checkRuleTexts(after.rules);
  const problems = new Problems();
  const { tenant, name } = after;
  for (const environment of environmentsOf(context.projection.state, tenant)) {
    const looking = {
      scope: { tenant, environment, application: name },
      nowMs,
      overlay: { edits: [], application: after },
    };
    if (!hasConfigurations(context, looking)) continue;
    const known =
      before === null
        ? []
        : brokenUnder(context, { ...looking, overlay: { edits: [], application: before } });
    for (const { rule, message } of brokenUnder(context, looking)) {
      if (known.some((finding) => finding.rule === rule) && !isNewRule(rule, { before, after })) continue;
      const at = after.rules.findIndex((each) => each.name === rule);
      problems.add(`rules/${at}`, `${environment}: ${message}`);
    }
  }
  problems.check();
}

/** @throws ServiceError `invalid` for a key that cannot be, or a value that cannot be stored */
export function checkDefaults(defaults: { readonly [key: string]: Json }): void {
  const problems = new Problems();
  for (const [key, json] of Object.entries(defaults)) {
    problems.gather(`defaults/${key}/`, () => {
      checkName({ ...ANYWHERE, key });
      parseJson(json, 'json');
    });
  }
  if (Object.keys(defaults).length > DEFAULTS_MAX) problems.add('defaults', `are more than ${DEFAULTS_MAX}`);
  problems.check();
}

function checkRuleTexts(rules: readonly CrossKeyRule[]): void {
  const problems = new Problems();
  if (rules.length > RULES_MAX) throw invalid({ field: 'rules', message: `are more than ${RULES_MAX}` });
  for (const [at, { name, expression, message }] of rules.entries()) {
    const isTaken = rules.findIndex((rule) => rule.name === name) < at;
    if (name === '' || isTaken)
      problems.add(`rules/${at}/name`, isTaken ? 'is there before' : 'must not be empty');
    if (name.length > RULE_NAME_LENGTH_MAX) {
      problems.add(`rules/${at}/name`, `is longer than ${RULE_NAME_LENGTH_MAX} characters`);
    }
    if (message.length > RULE_MESSAGE_LENGTH_MAX) {
      problems.add(`rules/${at}/message`, `is longer than ${RULE_MESSAGE_LENGTH_MAX} characters`);
    }
    problems.gather(`rules/${at}/`, () => checkRule(expression));
  }
  problems.check();
}

function isNewRule(
  rule: string,
  { before, after }: { readonly before: Application | null; readonly after: Application },
): boolean {
  const textOf = (application: Application | null): string | undefined =>
    application?.rules.find(({ name }) => name === rule)?.expression;
  return textOf(before) !== textOf(after);
}

/**
 * The rules that hold now and would not any more. One that is broken already keeps nobody from mending it step by step;
 * where there is nothing yet, all of them hold.
 */
function newlyBroken(context: ServiceContext, looking: Looking): readonly RuleFinding[] {
  const after = brokenUnder(context, looking);
  if (after.length === 0) return [];
  const present: Looking = { ...looking, overlay: { edits: [] } };
  if (!hasConfigurations(context, present)) return after;
  const before = brokenUnder(context, present);
  return after.filter(({ rule }) => before.every((known) => known.rule !== rule));
}

function brokenUnder(context: ServiceContext, looking: Looking): readonly RuleFinding[] {
  const { tenant, application } = looking.scope;
  const row = looking.overlay.application ?? context.projection.state.application(tenant, application)?.row;
  if (row === undefined || row.rules.length === 0) return [];
  const values = new Map([...valuesUnder(context, looking)].map(([key, { json }]) => [key, json]));
  return brokenRules(row.rules, values);
}
