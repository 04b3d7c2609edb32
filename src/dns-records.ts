/** Kinds of records, and the shapes in which `node:dns` has them. */
import type { CaaRecord, MxRecord, NaptrRecord, RecordWithTtl, SoaRecord, SrvRecord } from 'node:dns';

import type { RecordFields } from './binding.js';

/** What a query for each kind of record returns. */
export interface RecordsByType {
  A: string[];
  AAAA: string[];
  CAA: CaaRecord[];
  CNAME: string[];
  MX: MxRecord[];
  NAPTR: NaptrRecord[];
  NS: string[];
  PTR: string[];
  SOA: SoaRecord;
  SRV: SrvRecord[];
  TXT: string[][];
}

/** A kind of record. */
export type RecordType = keyof RecordsByType;

type Fields = Array<string | number>;

/** What native code knows a kind by, what Node names the query, and how to shape a record. */
interface Kind {
  readonly number: number;
  readonly syscall: string;
  shape(fields: Fields): unknown;
}

const first = ([field]: Fields): unknown => field;

/** The kinds of records; `RecordKind` in crates/hub has the same numbers and fields. */
export const recordKinds: Record<RecordType, Kind> = {
  A: { number: 0, syscall: 'queryA', shape: first },
  AAAA: { number: 1, syscall: 'queryAaaa', shape: first },
  CAA: {
    number: 2,
    syscall: 'queryCaa',
    shape: ([critical, tag, value]) => ({ critical, [tag as string]: value }),
  },
  CNAME: { number: 3, syscall: 'queryCname', shape: first },
  MX: { number: 4, syscall: 'queryMx', shape: ([priority, exchange]) => ({ exchange, priority }) },
  NAPTR: {
    number: 5,
    syscall: 'queryNaptr',
    shape: ([flags, service, regexp, replacement, order, preference]) => ({
      flags,
      service,
      regexp,
      replacement,
      order,
      preference,
    }),
  },
  NS: { number: 6, syscall: 'queryNs', shape: first },
  PTR: { number: 7, syscall: 'queryPtr', shape: first },
  SOA: {
    number: 8,
    syscall: 'querySoa',
    shape: ([nsname, hostmaster, serial, refresh, retry, expire, minttl]) => ({
      nsname,
      hostmaster,
      serial,
      refresh,
      retry,
      expire,
      minttl,
    }),
  },
  SRV: {
    number: 9,
    syscall: 'querySrv',
    shape: ([priority, weight, port, name]) => ({ name, port, priority, weight }),
  },
  TXT: { number: 10, syscall: 'queryTxt', shape: (pieces) => pieces },
};

/** Whether the records of a kind are addresses. */
export function isAddressType(type: RecordType): type is 'A' | 'AAAA' {
  return type === 'A' || type === 'AAAA';
}

/** The addresses among addresses and times to live by turns. */
export function addressesOf(found: Array<string | number>): string[] {
  return found.filter((_, index) => index % 2 === 0) as string[];
}

/** As {@link addressesOf}, each with its time to live. */
export function addressesWithTtl(found: Array<string | number>): RecordWithTtl[] {
  return addressesOf(found).map((address, index) => ({ address, ttl: found[2 * index + 1] as number }));
}

/** Shapes the records of a kind that is no address. */
export function shapeRecords(type: RecordType, found: RecordFields[]): unknown {
  const { shape } = recordKinds[type];
  const records = found.map(([, ...fields]) => shape(fields));
  return type === 'SOA' ? records[0] : records;
}
