/** What a terminal acts on instead of showing it: control characters but tab and line feed, and turns of direction. */
// oxlint-disable-next-line no-control-regex
const UNSEEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;

/** Text of others as a terminal may be given it: each character that it would act on is U+FFFD. */
export function visible(text: string): string {
  return text.replaceAll(UNSEEN, '\ufffd');
}

/** The same, in one line. */
export function oneLine(text: string): string {
  return visible(text.replaceAll(/[\t\n\r]+/g, ' '));
}
