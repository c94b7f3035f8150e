/** Shared by tests of rebuilds: a plan carried out by the driver's task. */
import type { Driver } from '../../../core/testing/driver.ts';
import type { TradeChange } from '../../../schemas/gen/trade_change.ts';
import { countRebuilt, giveOrders, openOrders, untilTaken } from '../rebuild/carry-out.ts';
import { planRebuild, type RebuildPlan } from '../rebuild/plan.ts';
import type { Scope } from '../rebuild/touched.ts';
import type { OhlcvSettings } from '../settings.ts';

/** Returns the number of rebuilt candles. @param how by default the driver takes the orders in one run */
export async function rebuild(
  driver: Driver<TradeChange>,
  settings: OhlcvSettings,
  scope: Scope = {},
  how: () => Promise<void> = () => driver.run(),
): Promise<{ readonly plan: RebuildPlan; readonly rebuilt: number }> {
  await using writer = await openOrders(driver);
  const plan = await planRebuild({ log: driver.log, schemas: driver.schemas, settings, scope });
  const given = await giveOrders(driver, writer, plan, 1_000_000n);
  await how();
  await untilTaken(driver, given, 0, () => undefined);
  return { plan, rebuilt: await countRebuilt(driver, plan, given) };
}
