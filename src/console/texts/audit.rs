//! The audit: reads, erasures and changes, with their actors.

texts! {
    /// `/audit`.
    pub struct Audit {
        title: "Audit", "审计日志";
        caption: "Newest first", "按时间从新到旧";
        position: "Row", "序号";
        time: "Time", "时间";
        actor: "Who", "操作者";
        action: "What", "操作";
        subject: "About", "对象";
        purpose: "Purpose", "用途";
        details: "Details", "详情";
        as_user: "as {user}", "数据库用户 {user}";
        filter: "Filter", "筛选";
        by_actor: "Who (a part of it)", "操作者（部分匹配）";
        by_action: "What (beginning)", "操作（开头匹配）";
        by_subject: "About (id of a verification, key or user)", "对象（核验、密钥或人员的 ID）";
        since: "From", "起始日期";
        until: "To", "截止日期";
        apply: "Filter", "筛选";
        clear: "Show all", "查看全部";
        none: "No row fits.", "没有符合条件的记录。";
        searched: "Searched back to row {n}.", "已检索至第 {n} 条。";
        earlier: "Earlier rows", "更早的记录";
        newest: "Newest rows", "最新的记录";
        verify: "Verify the chain", "校验链条";
        verify_hint: "Follows every row from the first on: any that was changed, removed, inserted or moved is named.", "从第一条开始逐条校验；任何被修改、删除、插入或移动的记录都会被指出。";
        expect: "Row that you wrote down earlier (POSITION:DIGEST)", "此前记录的校验点（POSITION:DIGEST）";
        whole: "The chain is whole.", "链条完整。";
        whole_rows: "{n} {n|row|rows}, {checkpoints} {checkpoints|checkpoint|checkpoints}, {behind} {behind|row|rows} after the last one.", "共 {n} 条记录、{checkpoints} 个检查点，最后一个检查点之后还有 {behind} 条。";
        whole_cut: "{n} {n|row|rows}, the first {dropped} dropped by retention, {checkpoints} {checkpoints|checkpoint|checkpoints}, {behind} {behind|row|rows} after the last one.", "共 {n} 条记录，其中前 {dropped} 条已按保留期限删除；{checkpoints} 个检查点，最后一个检查点之后还有 {behind} 条。";
        begins: "Rows exist from {at} on (row {n}). Retention dropped the older ones; their digests are kept.", "现存记录始于 {at}（第 {n} 条）。更早的记录已按保留期限删除，其摘要仍保留。";
        unsigned: "The signatures of the checkpoints were not checked: this process has no vault.keys.", "未校验检查点签名：此进程没有 vault.keys。";
        write_down: "Write this down outside of the database, and give it the next time:", "请将以下内容记录在数据库之外，下次校验时填入：";
        broken: "The chain is broken: {fault}.", "链条已损坏：{fault}。";
        too_long: "The chain is too long to be verified in half a minute. Use verdict audit verify.", "链条过长，无法在半分钟内完成校验，请使用 verdict audit verify。";
        busy: "Another check is running. Try again in a moment.", "已有人正在校验，请稍后再试。";
        bad_place: "That is no row: a position, a colon, and 64 hex digits.", "格式不正确：应为序号、冒号和 64 位十六进制数。";
        export: "Export", "导出";
        export_hint: "All rows with their digests and signatures, one JSON object a line, for verdict audit verify --file.", "导出全部记录及其摘要与签名，每行一个 JSON 对象，可用 verdict audit verify --file 校验。";
        download: "Download audit.jsonl", "下载 audit.jsonl";
    }
}
