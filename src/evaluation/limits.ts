/** What bounds a flag and its evaluation. Beyond them a definition is refused with the field named, unless it says otherwise. */

/** Characters of the key of a flag or a segment. */
export const KEY_LENGTH_MAX = 255;
/** Characters of the name of a variant, a rule, a service or an attribute. */
export const NAME_LENGTH_MAX = 100;
/** Characters of a regular expression, a value of a condition, a targeting key, a seed, a text of the metadata. */
export const TEXT_LENGTH_MAX = 1_024;
/** Characters of a whole definition as JSON. */
export const DEFINITION_LENGTH_MAX = 1_048_576;
/** How deep its JSON may be nested, values of variants included. */
export const JSON_DEPTH_MAX = 64;
/** How deep conditions may be nested. */
export const CONDITION_DEPTH_MAX = 16;

export const VARIANTS_MAX = 100;
export const RULES_MAX = 200;
export const SCHEDULE_MAX = 50;
export const RAMP_POINTS_MAX = 100;
export const PREREQUISITES_MAX = 20;
export const SERVICES_MAX = 100;
export const METADATA_MAX = 50;
/** Conditions in one list: of a rule, a segment, a group, or a flag's map. */
export const CONDITIONS_MAX = 100;
/** Values of one condition. */
export const VALUES_MAX = 10_000;
/** Targeting keys of one target, or of a segment's lists each. */
export const KEYS_MAX = 50_000;
/** What the weights of a split may add up to (flagd's bound). */
export const TOTAL_WEIGHT_MAX = 2_147_483_647;

/** Instructions of a compiled regular expression. */
export const PATTERN_PROGRAM_MAX = 250;
/** Characters of a text that a regular expression is tried on; a longer one does not match. */
export const PATTERN_INPUT_LENGTH_MAX = 1_024;

/** Characters of texts after which a regular expression forgets what it has learnt of them, which may be megabytes. */
export const PATTERN_MEMORY_LENGTH = 4_096;

/**
 * Steps of one evaluation at worst, with all that it refers to: one for each condition, for each value that is compared
 * one by one, and so many for each pattern.
 */
export const STEPS_MAX = 10_000;
export const PATTERN_STEPS = 500;

/** How far references may reach: a flag that requires one that requires one, a segment in a segment. */
export const REFERENCE_DEPTH_MAX = 8;

/** Findings that are listed; there may be more wrong. */
export const FINDINGS_MAX = 100;
