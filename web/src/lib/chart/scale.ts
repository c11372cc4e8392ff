/** Where a value lies on a line of pixels, and which round values are worth a mark. */

/** Return the top of an axis: the least round number that is not below `most`. */
export function top(most: number): number {
  if (!(most > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(most));
  return [1, 2, 2.5, 5, 10].map((step) => step * power).find((value) => value >= most) ?? 10 * power;
}

const STEPS = [10, 30, 60, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800];

/** Return round times between `since` and `until` (seconds since 1970), by the local clock, at most `count` + 1. */
export function marks(since: number, until: number, count: number): number[] {
  const step = STEPS.find((one) => (until - since) / one <= count) ?? 2_592_000;
  const shift = new Date(since * 1000).getTimezoneOffset() * 60;
  const found: number[] = [];
  for (let at = Math.ceil((since - shift) / step) * step + shift; at <= until; at += step) found.push(at);
  return found;
}

/** Return the outline of steps through `values`, from `left` in slices of `width` pixels; gaps where there is none. */
export function steps(
  values: readonly (number | null)[],
  left: number,
  width: number,
  y: (value: number) => number,
): string {
  let path = '';
  let open = false;
  values.forEach((value, at) => {
    if (value === null) {
      open = false;
      return;
    }
    const from = (left + at * width).toFixed(1);
    const to = (left + (at + 1) * width).toFixed(1);
    path += `${open ? 'L' : 'M'}${from},${y(value).toFixed(1)}L${to},${y(value).toFixed(1)}`;
    open = true;
  });
  return path;
}
