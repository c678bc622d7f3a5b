//! The figures as a picture: load against latency, CPU and loss, with what it was taken on.

use plotters::coord::Shift;
use plotters::prelude::{
    ChartBuilder, Circle, Color, DrawingArea, DrawingBackend, IntoDrawingArea, LineSeries, PathElement,
    RGBColor, SVGBackend, SeriesLabelPosition, WHITE,
};
use plotters::style::{IntoFont, TextStyle};

use super::ramp::Held;
use super::report::{About, Series};
use super::step::{Limits, Step, What};

const WIDTH: u32 = 900;
/// Of a panel, of the head, and of the foot, in pixels.
const PANEL: u32 = 250;
const HEAD: u32 = 64;
const FOOT: u32 = 44;

/// Told apart also by those who do not tell red from green (Okabe and Ito).
const BLUE: RGBColor = RGBColor(0, 114, 178);
const ORANGE: RGBColor = RGBColor(213, 94, 0);
const GREY: RGBColor = RGBColor(110, 110, 110);

type Drawn<B> = Result<(), plotters::drawing::DrawingAreaErrorKind<<B as DrawingBackend>::ErrorType>>;

/// A line of a panel.
struct Line {
    name: &'static str,
    color: RGBColor,
    /// Load, value, whether the load held.
    points: Vec<(f64, f64, Held)>,
}

struct Panel {
    title: &'static str,
    lines: Vec<Line>,
    /// What must not be crossed.
    limits: Vec<f64>,
}

/// As SVG.
pub(super) fn svg(about: &About, series: &[Series]) -> Result<String, String> {
    let panels: u32 = series.iter().map(|s| u32::try_from(panels(s, &about.limits).len()).unwrap_or(0)).sum();
    let mut text = String::new();
    {
        let root =
            SVGBackend::with_string(&mut text, (WIDTH, HEAD + panels * PANEL + FOOT)).into_drawing_area();
        draw(&root, about, series).map_err(|e| e.to_string())?;
        root.present().map_err(|e| e.to_string())?;
    }
    Ok(text)
}

fn draw<B: DrawingBackend>(root: &DrawingArea<B, Shift>, about: &About, series: &[Series]) -> Drawn<B> {
    root.fill(&WHITE)?;
    let (head, rest) = root.split_vertically(HEAD);
    let small = TextStyle::from(("sans-serif", 13).into_font()).color(&GREY);
    let title = format!("callspool {}: {}", about.version, about.kind);
    head.draw_text(&title, &("sans-serif", 20).into_font().into(), (16, 10))?;
    head.draw_text(&about.machine, &small, (16, 38))?;
    let mut rest = rest;
    for series in series {
        for panel in panels(series, &about.limits) {
            let (area, below) = rest.split_vertically(PANEL);
            draw_panel(&area, series.what, &panel)?;
            rest = below;
        }
    }
    let verdicts: Vec<String> = series.iter().map(|s| s.verdict(&about.limits)).collect();
    for (line, verdict) in (0..).zip(&verdicts) {
        rest.draw_text(verdict, &small, (16, 4 + 16 * line))?;
    }
    // To the second.
    let at: String = about.at.to_string().chars().take(19).collect();
    rest.draw_text(&format!("{at}Z"), &small, (i32::try_from(WIDTH).unwrap_or(0) - 160, 4))
}

fn panels(series: &Series, limits: &Limits) -> Vec<Panel> {
    let mut steps: Vec<&Step> = series.steps.iter().collect();
    steps.sort_by_key(|s| s.load);
    let points = |value: &dyn Fn(&Step) -> Option<f64>| {
        let point = |s: &&Step| {
            Some((s.load as f64, value(s).filter(|v| v.is_finite())?, s.held(series.what, limits)))
        };
        steps.iter().filter_map(point).collect::<Vec<_>>()
    };
    let line =
        |name, color, value: &dyn Fn(&Step) -> Option<f64>| Line { name, color, points: points(value) };
    let setup = line("INVITE to 200, p99", BLUE, &|s| s.setup_ms.map(|[_, p99, _]| p99));
    let cpu = Panel {
        title: "processors used by callspool",
        lines: vec![line("CPU", BLUE, &|s| Some(s.cpu))],
        limits: Vec::new(),
    };
    match series.what {
        What::Calls => vec![
            Panel {
                title: "ms, 99 of 100 are faster",
                lines: vec![
                    setup,
                    line("media: kernel to buffer, p99", ORANGE, &|s| s.delay_ms.map(|[_, p99]| p99)),
                ],
                limits: vec![limits.delay_ms],
            },
            cpu,
            Panel {
                title: "packets lost",
                lines: vec![line("lost", ORANGE, &|s| s.lost().map(|lost| lost as f64))],
                limits: Vec::new(),
            },
        ],
        What::Rate => vec![
            Panel { title: "ms, 99 of 100 are faster", lines: vec![setup], limits: vec![limits.setup_ms] },
            cpu,
            Panel {
                title: "calls not taken",
                lines: vec![line("failed", ORANGE, &|s| Some(s.failed as f64))],
                limits: Vec::new(),
            },
        ],
    }
}

fn draw_panel<B: DrawingBackend>(area: &DrawingArea<B, Shift>, what: What, panel: &Panel) -> Drawn<B> {
    let all = || panel.lines.iter().flat_map(|l| &l.points);
    let right = all().map(|p| p.0).fold(1.0, f64::max) * 1.05;
    let highest = all().map(|p| p.1).fold(0.0, f64::max);
    // A limit far above what there is would press the figures flat.
    let limits: Vec<f64> = panel.limits.iter().copied().filter(|l| *l < highest * 4.0).collect();
    let top = limits.iter().copied().fold(highest, f64::max).max(1.0) * 1.1;
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..right, 0.0..top)?;
    let load = match what {
        What::Calls => "calls at a time (hollow: over a limit)",
        What::Rate => "new calls per second (hollow: over a limit)",
    };
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .x_desc(load)
        .y_desc(panel.title)
        .x_label_formatter(&|v| format!("{v:.0}"))
        .draw()?;
    for limit in limits {
        chart.draw_series(LineSeries::new([(0.0, limit), (right, limit)], GREY.stroke_width(1)))?;
    }
    for line in &panel.lines {
        let color = line.color;
        let points = line.points.iter().map(|(x, y, _)| (*x, *y));
        chart
            .draw_series(LineSeries::new(points, color.stroke_width(2)))?
            .label(line.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], color.stroke_width(2)));
        chart.draw_series(line.points.iter().map(|(x, y, held)| match held {
            Held::Yes => Circle::new((*x, *y), 4, color.filled()),
            Held::No => Circle::new((*x, *y), 4, color.stroke_width(2)),
        }))?;
    }
    if panel.lines.len() > 1 {
        let place = SeriesLabelPosition::UpperLeft;
        chart.configure_series_labels().position(place).border_style(GREY).background_style(WHITE).draw()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use model::WallTime;

    use super::*;

    #[test]
    fn a_picture_has_its_circumstances_and_its_units() {
        let limits = Limits { loss: 0.0, setup_ms: 500.0, delay_ms: 20.0 };
        let about = About {
            at: WallTime::from_millis(1_795_166_100_000),
            version: "0.1.0".into(),
            target: "127.0.0.1:5060".into(),
            machine: "2 processors (<Some> & Other)".into(),
            load_before: 0.0,
            disk: None,
            cores: None,
            kind: "SIPREC".into(),
            limits,
            settings: Vec::new(),
        };
        let step = |load, ms| Step {
            load,
            setup_ms: Some([1.0, ms, ms]),
            delay_ms: Some([1.0, f64::INFINITY]),
            cpu: 0.5,
            ..Step::default()
        };
        let of = |what| Series {
            what,
            steps: vec![step(200, 700.0), step(100, 5.0)],
            most: Some(100),
            accounts: None,
            was_interrupted: false,
            ended: None,
        };
        let text = svg(&about, &[of(What::Calls), of(What::Rate)]).unwrap();
        assert!(text.starts_with("<svg") && text.trim_end().ends_with("</svg>"));
        for expected in
            ["0.1.0", "&lt;Some&gt; &amp; Other", "calls at a time", "new calls per second", "ms, 99 of 100"]
        {
            assert!(text.contains(expected), "{expected}");
        }
        // Nothing was measured: it is still a picture.
        assert!(svg(&about, &[]).unwrap().contains("</svg>"));
    }
}
