/** Places the tasks of a graph of needs in columns: what is needed stands left of what needs it. */

export interface Node<T> {
  id: string;
  item: T;
  needs: readonly string[];
  column: number;
  row: number;
}

export interface Edge {
  from: string;
  to: string;
}

export interface Layout<T> {
  nodes: readonly Node<T>[];
  edges: readonly Edge[];
  columns: number;
  rows: number;
}

const SWEEPS = 6;

/** Lay out the items that need, or are needed by, another one. Circles, which the queue refuses, are cut anywhere. */
export function layout<T extends { id: string; needs: readonly string[] }>(items: readonly T[]): Layout<T> {
  const known = new Map(items.map((item) => [item.id, item]));
  const edges: Edge[] = items.flatMap((item) =>
    item.needs.filter((need) => known.has(need) && need !== item.id).map((need) => ({ from: need, to: item.id })),
  );
  const linked = new Set(edges.flatMap((edge) => [edge.from, edge.to]));
  const into = group(edges, 'to', 'from');
  const outOf = group(edges, 'from', 'to');

  const depths = new Map<string, number>();
  const open = new Set<string>();
  const depth = (id: string): number => {
    const found = depths.get(id);
    if (found !== undefined) return found;
    if (open.has(id)) return 0;
    open.add(id);
    const own = Math.max(-1, ...(into.get(id) ?? []).map(depth)) + 1;
    open.delete(id);
    depths.set(id, own);
    return own;
  };

  const columns: string[][] = [];
  for (const item of items) if (linked.has(item.id)) (columns[depth(item.id)] ??= []).push(item.id);

  // Neighbours come near each other: each column is put in the order of the middle of its neighbours, back and forth.
  const place = new Map<string, number>();
  const settle = (column: string[]) => column.forEach((id, row) => place.set(id, row));
  columns.forEach(settle);
  for (let sweep = 0; sweep < SWEEPS; sweep += 1) {
    const forth = sweep % 2 === 0;
    for (const column of forth ? columns : columns.toReversed()) {
      const middle = new Map(
        column.map((id) => {
          const near = (forth ? into.get(id) : outOf.get(id)) ?? [];
          const rows = near.map((one) => place.get(one) ?? 0);
          return [id, rows.length ? rows.reduce((sum, row) => sum + row, 0) / rows.length : (place.get(id) ?? 0)];
        }),
      );
      column.sort((one, other) => (middle.get(one) ?? 0) - (middle.get(other) ?? 0));
      settle(column);
    }
  }

  const nodes = columns.flatMap((column, number) =>
    column.flatMap((id, row) => {
      const item = known.get(id);
      return item === undefined ? [] : [{ id, item, needs: into.get(id) ?? [], column: number, row }];
    }),
  );
  return { nodes, edges, columns: columns.length, rows: Math.max(0, ...columns.map((column) => column.length)) };
}

function group(edges: readonly Edge[], by: keyof Edge, what: keyof Edge): Map<string, string[]> {
  const found = new Map<string, string[]>();
  for (const edge of edges) {
    const list = found.get(edge[by]);
    if (list) list.push(edge[what]);
    else found.set(edge[by], [edge[what]]);
  }
  return found;
}
