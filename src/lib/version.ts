/** This program's own version; equal to package.json's (tested). */
export const VERSION = '0.1.0';

/** The etcd release whose API and behaviour clients may expect; answered wherever a client asks for a version. */
export const ETCD_VERSION = '3.6.0';
