import type { Burst } from '../burst.ts';
import { brokerKill, brokerRestart, brokerStall } from './broker.ts';
import { rebalanceStorm, zombie } from './members.ts';
import {
  commitAnswerDelayed,
  killBeforeOffsets,
  killInCommit,
  killInTransaction,
  transactionTimeout,
} from './transactions.ts';

/** Every burst, in the order of its fault. */
export const bursts: readonly Burst[] = [
  brokerRestart,
  brokerKill,
  brokerStall,
  killInTransaction,
  killBeforeOffsets,
  killInCommit,
  zombie,
  commitAnswerDelayed,
  transactionTimeout,
  rebalanceStorm,
];
