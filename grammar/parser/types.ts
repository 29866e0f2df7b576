/** Types: tensors (`f32[T, V]`), routes (`sparse[T, K of N]`), and names (`bool`). */
import type { AxisExpr, RouteType, Type } from "../ast.ts";
import * as t from "../tokens.ts";
import { ExpressionRules } from "./expressions.ts";
import type { Rule } from "./base.ts";

type RouteAxis = RouteType["axes"][number];

export abstract class TypeRules extends ExpressionRules {
  readonly type: Rule<Type> = this.rule("type", () =>
    this.OR({
      ERR_MSG: "a type",
      DEF: [
        { GATE: () => this.atRoute(), ALT: (): Type => this.SUBRULE(this.routeType) },
        { GATE: () => this.at(t.LSquare) || this.at(t.LSquare, 2), ALT: (): Type => this.SUBRULE(this.tensorType) },
        { ALT: (): Type => this.SUBRULE(this.namedType) },
      ],
    }),
  );

  /** `sparse` and `dense` are words of types only: elsewhere they are free as names. */
  private atRoute(): boolean {
    return /^(sparse|dense)$/.test(this.LA(1).image) && this.at(t.LSquare, 2);
  }

  readonly tensorType: Rule<Type> = this.rule("tensorType", () => {
    const start = this.LA(1);
    const dtype = this.OPTION(() => this.SUBRULE(this.name)) ?? null;
    const axes = this.SUBRULE(this.axes);
    return { kind: "tensor-type", dtype, axes, span: this.since(start) };
  });

  readonly routeType: Rule<Type> = this.rule("routeType", () => {
    const start = this.CONSUME(t.Identifier);
    this.CONSUME(t.LSquare);
    const axes = this.commaList(this.routeAxis);
    this.CONSUME(t.RSquare, { ERR_MSG: "`,`, `of` or `]`" });
    return { kind: "route-type", form: start.image as RouteType["form"], axes, span: this.since(start) };
  });

  readonly routeAxis: Rule<RouteAxis> = this.rule("routeAxis", () => {
    const axis = this.SUBRULE(this.operation, { ARGS: [0] });
    const of = this.OPTION(() => {
      this.CONSUME(t.Of);
      return this.SUBRULE2(this.operation, { ARGS: [0] });
    });
    return { axis, of: of ?? null };
  });

  readonly namedType: Rule<Type> = this.rule("namedType", () => {
    const name = this.SUBRULE(this.name);
    return { kind: "named-type", name, span: name.span };
  });

  /** `[.., h: 2 * D]`. */
  readonly axes: Rule<readonly AxisExpr[]> = this.rule("axes", () => {
    this.CONSUME(t.LSquare);
    const axes = this.commaList(this.axis);
    this.CONSUME(t.RSquare, { ERR_MSG: "`,` or `]`" });
    return axes;
  });

  readonly axis: Rule<AxisExpr> = this.rule("axis", () =>
    this.OR({
      ERR_MSG: "an axis",
      DEF: [
        { ALT: (): AxisExpr => ({ kind: "rest", span: this.spanOf(this.CONSUME(t.Rest)) }) },
        {
          ALT: (): AxisExpr => {
            const start = this.LA(1);
            const written = this.OPTION({
              GATE: () => this.at(t.Colon, 2),
              DEF: () => {
                const name = this.SUBRULE(this.name);
                this.CONSUME(t.Colon);
                return name;
              },
            });
            const size = this.SUBRULE(this.expression);
            // A lone name is both: the axis is called like its size.
            const label = written ?? (size.kind === "name" ? size.name : null);
            return { kind: "axis", label, size, span: this.since(start) };
          },
        },
      ],
    }),
  );
}
