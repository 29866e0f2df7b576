/**
 * Every name of a file and what it stands for, by the scoping of the language: names of a body, then of its layer, of the file, of the
 * library, builtins. Found in the tree, so that branches that are never taken and declarations with errors have their names too. Limits:
 * what follows a point, and names of arguments of what is no declaration, depend on values; an `Observer` sees those. In maps, tests and
 * upcyclings, names that are no declarations are taken for words of the place: keys, results, settings of a source.
 */
import type {
  ConfigDecl,
  Expr,
  Item,
  LayerDecl,
  MapDecl,
  MapRule,
  MixtureDecl,
  Module,
  Name,
  TestDecl,
  UpcycleDecl,
  UpcycleRule,
} from "../../grammar/ast.ts";
import { BUILTINS } from "../language/builtins.ts";
import type { Scope } from "../language/resolve/scope.ts";
import { isVerb } from "../weights/upcycle/verbs.ts";
import { builtin, type Declared, itemOf, type Use } from "./name-table.ts";
import { BodyUses, parameterOf } from "./uses-body.ts";

/** In the order of the text. */
export function usesOf(scope: Scope): readonly Use[] {
  const reader = new FileUses(scope);
  reader.module(scope.module);
  return reader.uses.toSorted((a, b) => a.name.span.start - b.name.span.start);
}

class FileUses extends BodyUses {
  module({ imports, items }: Module): void {
    for (const { names, from } of imports)
      for (const { name, alias } of names) {
        const binding = this.scope.lookup((alias ?? name).text);
        const declared: Declared | null =
          binding !== null ? itemOf(binding.item, binding.scope) : from === "std" ? builtin(name.text) : null;
        this.use(name, declared);
        if (alias !== null) this.use(alias, declared);
      }
    for (const item of items) this.item(item);
  }

  protected item(item: Item): void {
    if ("name" in item) this.use(item.name, itemOf(item, this.scope));
    this.within([], () => {
      switch (item.kind) {
        case "dim":
          return this.expr(item.size);
        case "fn":
          return this.fn(item);
        case "layer":
          return this.layer(item);
        case "config":
          return this.config(item);
        case "map":
          return this.mapDecl(item);
        case "mixture":
          return this.mixture(item);
        case "upcycle":
          return this.upcycle(item);
        case "test":
          return this.test(item);
        default:
          return item satisfies never;
      }
    });
  }

  protected config({ model, fields }: ConfigDecl): void {
    const decl = this.model(model);
    for (const { name, value } of fields) {
      this.record(name, "label", parameterOf(decl, name));
      this.expr(value);
    }
  }

  protected mapDecl({ model, config, rules }: MapDecl): void {
    const decl = this.model(model);
    for (const param of decl?.params ?? []) this.known(param.name, "parameter");
    for (const { left, map, default: initial } of config) {
      this.expr(left);
      if (map !== null) this.readName(map);
      // Keys of the configuration, by their names.
      if (initial !== null)
        this.wording(
          () => true,
          () => this.expr(initial),
        );
    }
    this.mapRules(rules, decl);
  }

  protected mapRules(rules: readonly MapRule[], decl: LayerDecl | null): void {
    for (const rule of rules) {
      switch (rule.kind) {
        case "stored":
          this.use(rule.encoding, { kind: "word", text: rule.encoding.text });
          break;
        case "ignore":
          if (rule.same !== null) this.path(rule.same, decl);
          if (rule.otherwise !== null) {
            this.readName(rule.otherwise.name);
            this.expr(rule.otherwise.value);
          }
          break;
        case "either":
          for (const inner of rule.alternatives) this.within([], () => this.mapRules(inner, decl));
          break;
        case "pair":
          this.within([], () => {
            for (const path of rule.left) this.path(path, decl);
            // Sizes of a layout and conditions are those of the layer that the path leads to.
            this.wording(
              () => true,
              () => {
                for (const axis of rule.layout ?? []) if (axis.kind === "axis") this.expr(axis.size);
                if (rule.condition !== null) this.expr(rule.condition);
              },
            );
            this.mapRules(rule.rules ?? [], null);
          });
          break;
        default:
          rule satisfies never;
      }
    }
  }

  /** `blocks[l].attn.q`: the first step is a member of `decl`, if that is known; brackets bind variables. */
  protected path(path: Expr, decl: LayerDecl | null): void {
    if (path.kind === "member") {
      this.path(path.object, decl);
      return this.record(path.name, "step", null);
    }
    if (path.kind === "bracket") {
      this.path(path.object, decl);
      for (const item of path.items) {
        if (item.kind === "name" && this.lookup(item.name) === null) this.introduce(item.name, "index");
        else this.expr(item);
      }
      return;
    }
    if (path.kind !== "name") return this.expr(path);
    const member = decl?.members.find((m) => m.name.text === path.name.text);
    this.record(path.name, "step", member === undefined ? null : { kind: "member", name: member.name });
  }

  protected mixture({ model, args, of, ofArgs, rules }: MixtureDecl): void {
    const [made, dense] = [this.model(model), this.model(of)];
    const sides = [
      { own: made, other: dense, list: args },
      { own: dense, other: made, list: ofArgs },
    ];
    for (const { own, other, list } of sides)
      this.within([], () => {
        for (const param of other?.params ?? []) this.known(param.name, "parameter");
        for (const { name, value } of list) {
          if (name !== null) this.record(name, "label", parameterOf(own, name));
          this.expr(value);
        }
      });
    for (const param of made?.params ?? []) this.known(param.name, "parameter");
    this.wording(isUpcycleWord, () => this.rules(rules, made));
  }

  protected upcycle({ params, target, targetOf, targetArgs, where, rules, ensures }: UpcycleDecl): void {
    for (const { name, source, default: initial } of params) {
      if (source !== null) {
        if (source.model.text === "model") this.use(source.model, { kind: "word", text: "model" });
        else this.readName(source.model);
        if (source.count !== null) this.introduce(source.count, "parameter");
      }
      this.introduce(name, "parameter");
      // It may be a setting of the sources.
      if (initial !== null)
        this.wording(
          () => true,
          () => this.expr(initial),
        );
    }
    const decl = this.layerNamed(target);
    this.use(target, this.lookup(target) ?? { kind: "word", text: target.text });
    if (targetOf !== null) this.readName(targetOf);
    this.verbs = isVerb;
    // Settings of the sources, whatever model they are of.
    this.wording(
      () => true,
      () => {
        for (const { name, value } of targetArgs) {
          if (name !== null) this.record(name, "label", parameterOf(decl, name) ?? { kind: "word", text: name.text });
          this.expr(value);
        }
        for (const condition of where) this.expr(condition);
        this.rules(rules, decl);
        for (const contract of ensures) this.expr(contract);
      },
    );
    this.verbs = () => false;
  }

  protected rules(rules: readonly UpcycleRule[], decl: LayerDecl | null): void {
    for (const rule of rules)
      this.within([], () => {
        switch (rule.kind) {
          case "default":
            return this.expr(rule.value);
          case "ignore":
            return this.sourcePath(rule.path);
          case "assign":
            this.path(rule.path, decl);
            return this.expr(rule.value);
          case "scope":
            this.path(rule.path, decl);
            return this.rules(rule.rules, null);
          default:
            return rule satisfies never;
        }
      });
  }

  /** `src.blocks[l].mlp`: begins with a source. */
  protected sourcePath(path: Expr): void {
    if (path.kind === "member") {
      this.sourcePath(path.object);
      this.record(path.name, "step", null);
    } else if (path.kind === "bracket") {
      this.sourcePath(path.object);
      for (const item of path.items)
        if (item.kind === "name" && this.lookup(item.name) === null) this.introduce(item.name, "index");
        else this.expr(item);
    } else this.expr(path);
  }

  protected test({ subject, statements }: TestDecl): void {
    this.expr(subject);
    const head = subject.kind === "call" ? subject.callee : subject;
    const decl = head.kind === "name" ? this.layerNamed(head.name) : null;
    for (const statement of statements)
      this.within([], () => {
        if (statement.kind === "expect")
          return this.wording(
            () => true,
            () => this.expr(statement.value),
          );
        const { path } = statement;
        const port =
          path.kind === "name" ? decl?.forward?.params.find((p) => p.name.text === path.name.text) : undefined;
        if (path.kind === "name" && port !== undefined) this.use(path.name, { kind: "argument", name: port.name });
        else if (path.kind === "name" && BUILTINS.has(path.name.text)) this.readName(path.name);
        else this.path(path, decl);
        this.expr(statement.value);
      });
  }

  /** A model that a declaration is about; null where it is not known. */
  protected model(name: Name): LayerDecl | null {
    this.readName(name);
    return this.layerNamed(name);
  }

  protected layerNamed(name: Name): LayerDecl | null {
    const found = this.scope.lookup(name.text);
    return found?.item.kind === "layer" ? found.item : null;
  }
}

const isUpcycleWord = (text: string): boolean => isVerb(text) || text === "self";
