/** A candlestick chart in text: one column per candle, half-block resolution. */
export interface Bar {
  readonly open: number;
  readonly high: number;
  readonly low: number;
  readonly close: number;
}

export interface ChartOptions {
  /** Rows of the price area. */
  readonly height: number;
  /** Green and red by escape codes. */
  readonly color: boolean;
  /** Label of a price on the axis. */
  readonly label: (price: number) => string;
}

/** The content of a cell's upper or lower half. */
type Half = 'none' | 'wick' | 'body';

const glyphs: Readonly<Record<Half, Readonly<Record<Half, string>>>> = {
  none: { none: ' ', wick: '╷', body: '▄' },
  wick: { none: '╵', wick: '│', body: '▄' },
  body: { none: '▀', wick: '▀', body: '█' },
};

/** Lines from the highest price to the lowest, each with its axis label. Prices are numbers here, because they are only drawn. */
export function chart(bars: readonly Bar[], options: ChartOptions): string[] {
  if (bars.length === 0) return [];
  const top = Math.max(...bars.map(({ high }) => high));
  const bottom = Math.min(...bars.map(({ low }) => low));
  const halves = options.height * 2;
  const span = top - bottom || 1;
  const above = (price: number): number => ((top - price) / span) * halves;
  const first = (price: number): number => Math.min(halves - 1, Math.floor(above(price)));
  const columns = bars.map((bar) => {
    const last = (price: number, from: number): number => Math.max(from, Math.ceil(above(price)) - 1);
    const wickFrom = first(bar.high);
    const wickTo = last(bar.low, wickFrom);
    const bodyFrom = first(Math.max(bar.open, bar.close));
    const bodyTo = last(Math.min(bar.open, bar.close), bodyFrom);
    return (half: number): Half =>
      half >= bodyFrom && half <= bodyTo ? 'body' : half >= wickFrom && half <= wickTo ? 'wick' : 'none';
  });
  const labels = Array.from({ length: options.height }, (_, row) =>
    options.label(top - ((row + 0.5) / options.height) * span),
  );
  const width = Math.max(...labels.map(({ length }) => length));
  return labels.map((label, row) => {
    const cells = columns.map((half, i) => paint(glyphs[half(row * 2)][half(row * 2 + 1)], bars[i], options.color));
    return `${label.padStart(width)} ┤${cells.join('')}`.trimEnd();
  });
}

function paint(glyph: string, bar: Bar | undefined, color: boolean): string {
  if (!color || glyph === ' ' || bar === undefined) return glyph;
  return `\u001b[${bar.close >= bar.open ? 32 : 31}m${glyph}\u001b[0m`;
}
