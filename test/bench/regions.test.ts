import { describe, expect, test } from 'vitest';
import { type Figure, figuresTable, isMet } from '../../bench/regions/figures.ts';
import { Formulas } from '../../bench/regions/formulas.ts';
import { REGION_MEMBERS, type RegionMember, ROUND_TRIPS } from '../../cluster/region-layout.ts';

function formulas(leader: string, members: readonly RegionMember[] = REGION_MEMBERS): Formulas {
  const found = members.find(({ name }) => name === leader)!;
  return new Formulas({ roundTrips: ROUND_TRIPS, members, leader: found, syncMs: 1 });
}

describe('formulas', () => {
  test('a leader in a needs one voter of b besides its own region', () => {
    const of = formulas('n1');
    expect(of.quorumMs).toBe(65);
    expect(['a', 'b', 'c'].map((region) => of.writeMs(region))).toEqual([66, 131, 206]);
    expect(['a', 'b', 'c'].map((region) => of.linearizableReadMs(region))).toEqual([65, 130, 205]);
    expect(of.watchMs('c')).toBe(136);
  });

  test('a leader where there is no other voter needs two of the nearest region', () => {
    const of = formulas('n5');
    expect(of.quorumMs).toBe(80);
    expect(of.writeMs('a')).toBe(221);
  });

  test('one voter in each region: the nearest other one', () => {
    const three = REGION_MEMBERS.filter(({ name }) => ['n1', 'n3', 'n5'].includes(name));
    expect(formulas('n1', three).quorumMs).toBe(65);
    expect(formulas('n5', three).quorumMs).toBe(80);
  });

  test('a single voter is its own quorum, learners or not', () => {
    const alone = REGION_MEMBERS.filter(({ name }) => ['n1', 'n6'].includes(name));
    expect(formulas('n1', alone).quorumMs).toBe(0);
  });
});

describe('figures', () => {
  const row = (figure: Figure): readonly string[] => figuresTable([figure]).split('\n')[2]!.split(' | ');

  test('a ratio and a bound are both held to', () => {
    expect(isMet({ what: 'w', valueMs: 78, formulaMs: 65, ratioMax: 1.2 })).toBe(true);
    expect(isMet({ what: 'w', valueMs: 79, formulaMs: 65, ratioMax: 1.2 })).toBe(false);
    expect(isMet({ what: 'w', valueMs: 10, belowMs: 10 })).toBe(false);
    expect(isMet({ what: 'w', valueMs: Number.NaN, belowMs: 10 })).toBe(false);
    expect(isMet({ what: 'w', valueMs: 1e6 })).toBe(true);
  });

  test('are shown beside what they are held against', () => {
    const held = row({ what: 'a write', valueMs: 68.4, formulaMs: 66, ratioMax: 1.2 });
    expect(held).toEqual(['| a write', '66 ms', '68 ms', '1.04', 'ratio up to 1.2', 'yes |']);
    expect(row({ what: 'a read', valueMs: 11, belowMs: 10 })).toEqual([
      '| a read',
      '-',
      '11 ms',
      '-',
      'below 10 ms',
      '**no** |',
    ]);
  });
});
