// How high a chart reaches. Pure: numbers in, numbers out.

const USUAL_SHARE = 0.9;
const SPIKE = 3;
const ROOM = 1.15;
const OF_NOTHING = 1;

/**
 * The top of an axis for these values, and the highest of them where it is above that.
 *
 * What is far above nine in ten of them, such as the first seconds after a start, would flatten
 * all the others: it is cut off, and said in words.
 */
export function reach(values) {
  const known = values.filter((value) => value !== null && value !== undefined).sort((a, b) => a - b);
  const most = known.at(-1) || 0;
  const usual = known[Math.max(0, Math.ceil(known.length * USUAL_SHARE) - 1)] || 0;
  const spiked = usual > 0 && most > SPIKE * usual;
  return { top: (spiked ? usual * SPIKE : most) * ROOM || OF_NOTHING, peak: spiked ? most : null };
}
