/** JSON as it is stored and shown. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json };
